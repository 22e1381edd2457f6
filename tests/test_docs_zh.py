"""The Chinese pages say what the English ones say: the same headings, commands and links, and are set as Chinese is.

Their links resolve as those of all pages do, see test_docs.py, where the code runs that theirs is compared with.
"""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from test_docs import NOT_RUN, ROOT, anchors, page_id

DOCS = ROOT / "docs"
CHINESE = [ROOT / "README.zh-CN.md", *sorted((DOCS / "zh").rglob("*.md"))]
HAN = "\u4e00-\u9fff"
CODE = re.compile(r"^```.*?^```|^ {4}(?![-*|\[]).*?$|``.+?``|`[^`\n]+`", re.M | re.S)


def english(page: Path) -> Path:
    return ROOT / "README.md" if page.parent == ROOT else DOCS / page.relative_to(DOCS / "zh")


ENGLISH = {english(page): page for page in CHINESE}
PAIRS = pytest.mark.parametrize("page", CHINESE, ids=page_id)


def blocks(page: Path) -> list[tuple[str, str, object]]:
    """Blocks that programs read, in order: language, whether it is not to be run, and what remains of it without
    comments."""
    found = re.findall(rf"({NOT_RUN}\n+)?^```(\w+)\n(.*?)^```", page.read_text(), re.M | re.S)
    found = [one for one in found if one[1] != "text"]  # which people read
    return [(language, mark.strip(), bare(language, body)) for mark, language, body in found]


def bare(language: str, body: str) -> object:
    if language == "python":
        return ast.dump(ast.parse(body))
    if language == "toml":
        return tomllib.loads(body)
    if language != "sh":
        return body
    return [words for line in body.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ .+$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)


def options(page: Path) -> set[str]:
    """Options and commands that the text names."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    spans = re.findall(r"`([^`]+)`", text)
    return {" ".join(span.split()) for span in spans if re.match(r"--[a-z]|quickstudy ", span)}


def places(page: Path) -> set[tuple[str, int]]:
    """The headings that links lead to: the English page, and the heading's number there."""
    found = set()
    for target in re.findall(r"\]\(([^)\s:]*#[^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        number = next(one for one, heading in enumerate(headings(there)) if anchor == slug(heading))
        found.add((page_id(english(there) if there in CHINESE else there), number))
    return found


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")


def prose(page: Path) -> str:
    """The text without code and without the addresses of links."""
    return re.sub(r"\]\([^)]*\)", "]", CODE.sub("`", page.read_text()))


def test_what_everybody_reads_first_is_there_in_chinese() -> None:
    first = {ROOT / "README.md", *(DOCS / f"{name}.md" for name in ("README", "guide", "concepts"))}
    doors = {DOCS / f"{name}.md" for name in ("text", "sound", "tables", "masks", "agents")}
    use = {DOCS / f"{name}.md" for name in ("pretrained", "trust", "growing", "export", "serving", "files")}
    choice = {DOCS / f"{name}.md" for name in ("learners", "choosing", "searching")}
    assert first | doors | use | choice <= set(ENGLISH)


@PAIRS
def test_each_page_and_its_counterpart_link_to_each_other_under_the_title(page: Path) -> None:
    other = english(page)
    assert other.exists(), f"{page_id(page)} has no English counterpart"
    to_english, to_chinese = r"\[English\]\((.+)\) \| 中文", r"English \| \[中文\]\((.+)\)"
    for one, two, line in ((page, other, to_english), (other, page, to_chinese)):
        title, blank, link = one.read_text().splitlines()[:3]
        assert title.startswith("# ") and not blank
        found = re.fullmatch(line, link)
        assert found and (one.parent / found[1]).resolve() == two, f"{page_id(one)} does not link to {page_id(two)}"


@PAIRS
def test_headings_are_those_of_the_english_page(page: Path) -> None:
    levels, theirs = ([h.split()[0] for h in headings(one)] for one in (page, english(page)))
    assert levels == theirs
    numbers, theirs = ([re.match(r"#+ (\d*)", h)[1] for h in headings(one)] for one in (page, english(page)))  # type: ignore[index]
    assert numbers == theirs
    assert len(anchors(page)) == len(headings(page)), "two headings would have one anchor"


@PAIRS
def test_commands_and_code_are_those_of_the_english_page(page: Path) -> None:
    ours, theirs = blocks(page), blocks(english(page))
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one == other, f"{page_id(page)}: block {number + 1} differs from that of {page_id(english(page))}"


def test_what_is_said_in_comments_alone_may_differ() -> None:
    assert bare("sh", "quickstudy list recipes  # all\n") == bare("sh", "# 全部\nquickstudy   list recipes\n")
    assert bare("sh", "quickstudy list recipes\n") != bare("sh", "quickstudy list models\n")
    assert bare("python", "x = 1  # one\n") == bare("python", "x = 1  # 一\n") != bare("python", "x = 2\n")


@PAIRS
def test_every_option_and_command_that_the_english_page_names_is_there(page: Path) -> None:
    left = options(english(page)) - options(page)
    assert not left, f"{page_id(page)} does not name {sorted(left)}"


@PAIRS
def test_links_lead_to_the_same_headings(page: Path) -> None:
    assert places(page) == places(english(page))


@PAIRS
def test_every_page_that_the_english_one_links_to_is_linked_to(page: Path) -> None:
    def linked(one: Path) -> set[str]:
        targets = set(re.findall(r"\]\(([^)#\s]+)[^)]*\)", one.read_text()))
        elsewhere = {target for target in targets if re.match(r"[a-z]+:", target)}
        there = {(one.parent / target).resolve() for target in targets - elsewhere}
        pages = {page_id(english(path) if path in CHINESE else path) for path in there}
        return elsewhere | pages - {page_id(english(page))}

    left = linked(english(page)) - linked(page)
    assert not left, f"{page_id(page)} does not link to {sorted(left)}"


@PAIRS
def test_links_prefer_pages_in_chinese(page: Path) -> None:
    """Of a page that is there in Chinese, the English one is linked to once, under the title."""
    targets = re.findall(r"\]\(([^)#\s:]+)[^)]*\)", page.read_text())
    there = [(page.parent / target).resolve() for target in targets]
    assert [one for one in there if one in ENGLISH] == [english(page)]


@PAIRS
def test_comments_in_code_are_chinese(page: Path) -> None:
    for body in re.findall(r"^```(?:sh|python)\n(.*?)^```", page.read_text(), re.M | re.S):
        for comment in re.findall(r"(?:^|\s)# (.+)$", body, re.M):
            assert re.search(f"[{HAN}]", comment), f"{page_id(page)}: {comment}"


@PAIRS
def test_punctuation_is_full_width_and_latin_words_stand_apart(page: Path) -> None:
    text = prose(page)
    half = re.findall(f".{{0,6}}[{HAN}][,;:?!.(].{{0,6}}", text)
    assert not half, f"{page_id(page)}: half-width punctuation after a Chinese character: {half}"
    close = re.findall(f".{{0,6}}(?:[{HAN}][A-Za-z0-9`]|[A-Za-z0-9`][{HAN}]).{{0,6}}", text)
    assert not close, f"{page_id(page)}: no space between Chinese and Latin: {close}"


@PAIRS
def test_no_line_is_broken_between_chinese_characters(page: Path) -> None:
    """Browsers draw a line's end as a space, which Chinese has none of."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    broken = re.findall(rf"[{HAN}，。；：、）”]\n {{0,3}}[{HAN}（“].{{0,9}}", text)
    assert not broken, f"{page_id(page)}: {broken}"


@PAIRS
def test_emphasis_is_drawn(page: Path) -> None:
    """Stars do not stand for themselves, as they may beside full-width punctuation, and what is Chinese is bold."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt().enable("table")
    for token in markdown.parse(page.read_text()):
        slanted = False
        for child in token.children or ():
            slanted = child.type == "em_open" or (slanted and child.type != "em_close")
            assert child.type != "text" or "*" not in child.content, child.content
            assert not (slanted and re.search(f"[{HAN}]", child.content)), f"Chinese has no italics: {child.content}"

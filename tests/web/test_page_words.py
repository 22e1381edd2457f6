"""What people read on the page stands in words/*.json alone, in every language."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import quickstudy

PACKAGE = Path(quickstudy.__file__).parent
WEB = PACKAGE / "web"
WORDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (WEB / "words").glob("*.json")}
KEYS = set(WORDS["en"])
MODULES = sorted((WEB / "page").rglob("*.js"))
TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<literal>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)""", re.S
)
KEYS_PRESSED = {"Space Enter Delete"}  # what aria-keyshortcuts holds is for programs
STORED = {"quickstudy.language", "quickstudy.model", "quickstudy.token"}
SAID = ("said", "label", "hint", "prompt")  # what make() takes keys of words as
SEEN = ("alt", "aria-description", "aria-label", "aria-roledescription", "placeholder", "title", "value")


def literals(module: Path) -> list[str]:
    """The texts in a module's quotes."""
    found = (match["literal"] for match in TOKEN.finditer(module.read_text(encoding="utf-8")))
    return [one[1:-1] for one in found if one]


def has(key: str) -> bool:
    return key in KEYS or f"{key}.other" in KEYS


def test_languages_have_the_same_keys_in_the_same_order_and_fill_in_the_same_values() -> None:
    assert set(WORDS) == {"en", "zh"}
    assert list(WORDS["en"]) == list(WORDS["zh"])
    for key in KEYS:
        filled = [sorted(re.findall(r"\{(\w+)\}", WORDS[language][key])) for language in ("en", "zh")]
        assert filled[0] == filled[1], key


def test_every_string_says_something_in_its_own_language() -> None:
    for language, words in WORDS.items():
        assert [key for key, said in words.items() if not said.strip() or said != said.strip()] == [], language
    english = [key for key, said in WORDS["zh"].items() if not re.search("[\u4e00-\u9fff]", said)]
    assert sorted(english) == ["answer.said", "download.onnx", "language.en"]
    assert [key for key, said in WORDS["en"].items() if re.search("[\u4e00-\u9fff]", said)] == ["language.zh"]


class Seen(HTMLParser):
    """The text of a page, and what its attributes say."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in SEEN]

    def handle_data(self, data: str) -> None:
        self.found += [data.strip()] if data.strip() else []


def test_html_says_nothing_but_the_name() -> None:
    page = Seen()
    page.feed((WEB / "index.html").read_text(encoding="utf-8"))
    assert page.found == ["quickstudy"]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_modules_hold_no_sentence(module: Path) -> None:
    for one in literals(module):
        plain = re.sub(r"\$\{[^}]*\}", "", one)
        assert not re.search(r"[A-Za-z]{2,} +[A-Za-z]{2,}", plain) or one in KEYS_PRESSED, one
        assert not re.search(r"[^\W\d_a-zA-Z]", plain), one  # letters of other scripts
    code = TOKEN.sub(lambda match: "" if match["comment"] else match[0], module.read_text(encoding="utf-8"))
    for name in SAID:
        for key in re.findall(rf'\b{name}: "([^"]*)"', code):
            assert has(key), f"{module.name}: {key}"
    keys = [one for one in literals(module) if re.fullmatch(r"[a-z]+(\.[a-z]+)+", one)]
    assert [key for key in keys if not has(key) and not key.endswith((".js", ".json")) and key not in STORED] == []
    assert not re.findall(r'\.(?:textContent|innerText|title|placeholder|ariaLabel|innerHTML) = "[^"]', code)


def test_every_key_is_used() -> None:
    written = {one for module in MODULES for one in literals(module)}
    made = [re.sub(r"\$\{[^}]*\}", "\0", one) for one in written if "${" in one]
    shapes = [re.escape(one).replace("\0", r"\w+") for one in made if re.fullmatch("[a-z\0]+([.][a-z\0]+)+", one)]
    worded = [re.compile(one) for one in shapes if re.search("[a-z]", one.replace(r"\w", ""))]
    plain = {re.sub(r"[.](one|other)$", "", key) for key in KEYS}
    unused = plain - written - {key for key in plain if any(shape.fullmatch(key) for shape in worded)}
    assert sorted(key for key in unused if not key.startswith("error.")) == []


def codes() -> set[str]:
    """What the page's modules, and those of the server and of the browser's model, give as the reason of an error."""
    found: set[str] = set()
    for path in [*MODULES, *(WEB / "lib").rglob("*.js")]:
        code = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'\bcode: "(\w+)"', code)) | set(re.findall(r'new Refused\(\s*"(\w+)"', code))
    for path in (PACKAGE / "serve").rglob("*.py"):
        found |= set(re.findall(r'Refused\(\s*\d+,\s*"(\w+)"', path.read_text(encoding="utf-8")))
    return found


def test_every_reason_of_an_error_has_words() -> None:
    assert len(codes()) > 5
    assert sorted(code for code in codes() if f"error.{code}" not in KEYS) == []

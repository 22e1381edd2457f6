"""The site is built of docs/ without a warning, asks no other host, and holds what the first page promises."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import quickstudy as qs

pytest.importorskip("material")
pytest.importorskip("mkdocstrings_handlers.python")
ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
PACKAGES = {path.stem for path in (ROOT / "src" / "quickstudy").iterdir() if path.suffix in ("", ".py")}
DOORS = ("photos", "sentences", "recordings", "tables", "masks", "series", "agents")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    told = subprocess.run(words, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=400)
    assert told.returncode == 0 and "WARNING" not in told.stderr, told.stderr[-4000:]
    return folder


def test_the_first_page_is_a_set_of_doors(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert all(f"<strong>My {door}</strong>" in text for door in DOORS)
    assert "<strong>I research</strong>" in text and "<strong>I deploy</strong>" in text


def test_nothing_is_fetched_from_other_hosts(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(https?:[^\" >]+)", page.read_text())
        fetched += re.findall(r"<link[^>]+rel=\"?stylesheet\"?[^>]*href=\"?(https?:[^\" >]+)", page.read_text())
        assert not fetched, page


def test_long_code_in_tables_may_be_broken_where_its_parts_end(site: Path) -> None:
    text = (site / "serving.html").read_text()
    assert "<code>POST /<wbr>api/<wbr>models/<wbr>{id}/<wbr>examples</code>" in text
    assert "<wbr>" not in "".join(re.findall(r"<pre>.*?</pre>", text, re.S)), "commands are to be copied whole"


def test_links_and_pictures_lead_to_files_of_the_site(site: Path) -> None:
    """Those that mkdocs does not follow are among them: in HTML, and on pages made of files outside docs/."""
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for target in re.findall(r"(?:href|src)=\"?([^\" >]+)", page.read_text()):
            path = target.partition("#")[0].partition("?")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).exists(), f"{page.relative_to(site)} leads to {target}"


def test_each_page_says_in_which_language_it_is(site: Path) -> None:
    pages = {p.relative_to(site).as_posix(): p.read_text() for p in site.rglob("*.html")}
    said = {name: re.findall(r"<html[^>]* lang=\"?([\w-]+)", text) for name, text in pages.items()}
    chinese = {name for name in pages if name.startswith("zh/")} | {"about/readme.zh-cn.html"}
    assert len(chinese) > 5 and said == {name: ["zh" if name in chinese else "en"] for name in pages}


def test_every_public_name_stands_in_the_reference(site: Path) -> None:
    text = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    anchors = set(re.findall(r"id=\"?(quickstudy[\w.]+)", text))
    elsewhere = {"__version__", "load", "report"}  # a text; a method of Model; below its package
    lacking = {n for n in qs.__all__ if f"quickstudy.{n}" not in anchors} - elsewhere
    assert not lacking and {"quickstudy.Model.load", "quickstudy.report.report"} <= anchors
    for package in re.findall(r"^::: quickstudy\.(\w+)$", "".join(p.read_text() for p in REFERENCE.glob("*.md")), re.M):
        module = importlib.import_module(f"quickstudy.{package}") if package in PACKAGES else None
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                homes = {f"quickstudy.{package}.{name}", f"{thing.__module__}.{thing.__qualname__}"}
                assert homes & anchors, f"quickstudy.{package}.{name} stands on no page of docs/reference"


def test_the_search_finds_words_of_every_kind_of_page(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text())
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"index.html", "studies.html", "reference/running.html", "about/examples/own_learner.py.html"} <= found


def test_docstrings_are_told_as_markdown() -> None:
    pytest.importorskip("griffe")
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from docstrings import as_markdown
    finally:
        sys.path.pop(0)
    text = "Adds, into runs/<name>.\n\na, b: what is added; note: `<b>`.\nc: not.  Raises E.\n\n"
    text += ">>> f(1)  # doctest: +SKIP\n2"
    assert as_markdown(text, {"a", "b", "c"}) == (
        "Adds, into runs/&lt;name>.\n\n- `a`, `b`: what is added; note: `<b>`.\n- `c`: not.\n\nRaises E.\n\n"
        "```pycon\n>>> f(1)\n2\n```"
    )

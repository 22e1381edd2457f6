"""What the site takes in beside docs/: files of the repository that pages link to, and notebooks, each as a page.

Links are written as the repository has them, so that they lead somewhere there; here they are led to the site's pages.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from os.path import relpath
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
HEADS = {"course": "Course", "zh": "中文"}  # of folders of pages that mkdocs.yml does not name
LINK = re.compile(r"(\]\()([^)\s#]+)([^)\s]*\))")
CHINESE = re.compile(r"(^|/)zh/|\.zh-")
FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)
CELL = re.compile(r"<td[^>]*>.*?</td>", re.S)
LONG = re.compile(r"(?<=<code>)[^<]{24,}(?=</code>)")
PART = re.compile(r"[/_.](?=[^/_.]{2})")
LANGUAGES = {".py": "python", ".yml": "yaml", ".toml": "toml"}

origins: dict[str, Path] = {}  # of pages made of files outside docs/, by the page's place in the site


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Pages that mkdocs.yml does not name follow at its end."""
    named = set(re.findall(r"[\w/.-]+\.md", json.dumps(config.nav)))
    left = [p for p in sorted(DOCS.rglob("*")) if p.suffix in (".md", ".ipynb")]
    pages = [page_of(p) for p in sorted(left, key=lambda p: (p.parent, p.name != "README.md", p.name))]
    groups: dict[str, list[str]] = {}
    for page in dict.fromkeys(pages):
        if page not in named:
            folder = page.partition("/")[0] if "/" in page else ""
            groups.setdefault(HEADS.get(folder, folder.capitalize() or "More"), []).append(page)
    groups.setdefault("About", []).extend(
        page_of(ROOT / name) for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
    )
    config.nav = [*(config.nav or []), *({head: found} for head, found in groups.items())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Makes pages of what lies outside docs/ and is linked to, and of notebooks."""
    origins.clear()
    for notebook in sorted(DOCS.rglob("*.ipynb")):
        add(files, config, notebook, notebook_page(notebook, files, config))
    waiting = [
        *DOCS.rglob("*.md"),
        *DOCS.rglob("*.ipynb"),
        *(ROOT / n for n in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if not path.is_relative_to(DOCS):
            add(files, config, path, shown(path))
        if path.is_dir():
            waiting += listed(path)
        elif path.suffix in (".md", ".ipynb"):
            waiting += [there for there in linked(path) if not there.is_relative_to(DOCS)]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files of the repository lead to the pages made of them."""
    here = page.file.src_uri
    origin = origins.get(here, DOCS / here)

    def led(found: re.Match[str]) -> str:
        there = resolved(origin, found[2])
        return found[0] if there is None else found[1] + relpath(page_of(there), Path(here).parent) + found[3]

    return outside_code(markdown, lambda text: LINK.sub(led, text))


def on_page_context(context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Navigation) -> None:
    """Pages in Chinese say so to the browser, which chooses letters and voices by it, and have Chinese words around
    them. A page is written right after this, so that what is set here holds for it alone."""
    config.theme["language"] = "zh" if CHINESE.search(page.file.src_uri) else "en"


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Long code in tables may be broken where its parts end, so that other columns are seen on a phone as well."""
    return CELL.sub(lambda cell: LONG.sub(lambda code: PART.sub(r"\g<0><wbr>", code[0]), cell[0]), html)


def outside_code(text: str, change: Callable[[str], str]) -> str:
    return "".join(part if part.startswith("```") else change(part) for part in FENCE.split(text))


def resolved(origin: Path, target: str) -> Path | None:
    """The file of the repository that a link on a page leads to, or None."""
    there = (origin.parent / target).resolve()
    inside = not re.match(r"[a-z]+:", target) and there.is_relative_to(ROOT) and there.exists()
    return there if inside else None


def linked(path: Path) -> Iterable[Path]:
    text = "".join(FENCE.split(path.read_text())[::2])
    return [there for found in LINK.finditer(text) if (there := resolved(path, found[2])) is not None]


def page_of(path: Path) -> str:
    """Where a file of the repository stands in the site."""
    if path.is_relative_to(DOCS):
        place = path.relative_to(DOCS)
        if path.is_dir():
            return (place / "README.md").as_posix()
        return (place.with_suffix(".md") if path.suffix == ".ipynb" else place).as_posix()
    if path.parent == ROOT and path.suffix == ".md":
        return f"about/{path.stem.lower()}.md"
    place = path.relative_to(ROOT)
    return f"about/{place}/README.md" if path.is_dir() else f"about/{place}.md"


def add(files: Files, config: MkDocsConfig, path: Path, content: str) -> None:
    place = page_of(path)
    origins[place] = path
    files.append(File.generated(config, place, content=content))


def listed(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def shown(path: Path) -> str:
    """A file as a page: Markdown as it is, a folder as a list, all else as code."""
    if path.is_dir():
        rows = [f"- [{p.name}]({path.name}/{p.name}){told(p)}" for p in listed(path)]
        return f"# {path.name}\n\n" + "\n".join(rows) + "\n"
    text = path.read_text()
    if path.suffix == ".md":
        return text
    return f"# {path.name}\n\n```{LANGUAGES.get(path.suffix, 'text')}\n{text}```\n"


def told(path: Path) -> str:
    """The first sentence of a Python file."""
    found = re.match(r'"""(.+)', path.read_text()) if path.suffix == ".py" else None
    return f": {found[1].removesuffix(chr(34) * 3)}" if found else ""


def notebook_page(path: Path, files: Files, config: MkDocsConfig) -> str:
    """A notebook as Markdown: its text, its code, and what that printed and drew."""
    parts = []
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            for index, output in enumerate(cell.get("outputs", ())):
                name = f"{path.stem}-{number}-{index}"
                parts.append(output_shown(output, page_of(path).rpartition("/")[0], name, files, config))
    return "\n\n".join(filter(None, parts)) + "\n"


def output_shown(output: dict[str, Any], folder: str, name: str, files: Files, config: MkDocsConfig) -> str:
    data = output.get("data", {})
    for kind, ending in (("image/svg+xml", "svg"), ("image/png", "png")):
        if kind in data:
            text = "".join(data[kind])
            content = base64.b64decode(text) if ending == "png" else text.encode()
            files.append(File.generated(config, f"{folder}/{name}.{ending}".lstrip("/"), content=content))
            return f"![What the code draws]({name}.{ending})"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""

"""The course: each notebook runs as it stands, holds what it claims, and is stored with what it prints and draws."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

COURSE = Path(__file__).parent.parent / "docs" / "course"
NOTEBOOKS = sorted(COURSE.glob("*.ipynb"))
NEEDS = {"03-memory": "lancedb", "06-text": "tokenizers", "08-deploy": "onnxruntime"}
LARGEST = 200_000  # bytes

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def stored(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def cells(notebook: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """What `make notebooks` runs."""
    for package in ("nbclient", "ipykernel", "matplotlib"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location("notebooks", COURSE.parent.parent / "tools" / "notebooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_eight_and_the_list_names_each() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(1, 9)]
    assert re.findall(r"\]\(([^)]*\.ipynb)\)", (COURSE / "README.md").read_text()) == [path.name for path in NOTEBOOKS]


@every_notebook
def test_it_runs_and_its_claims_hold(path: Path, runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code = cells(runner.executed(path), "code")  # a failed assertion of its own raises here
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    before, after = (  # it prints as many things, and draws as many pictures, as are stored
        [[output["output_type"] for output in cell["outputs"]] for cell in one]
        for one in (cells(stored(path), "code"), code)
    )
    assert before == after


@every_notebook
def test_it_ends_with_what_it_claims_after_a_question_and_a_plot(path: Path) -> None:
    notebook = stored(path)
    assert notebook["cells"][-1]["id"] == "claims" and text(notebook["cells"][-1]).count("assert ") >= 3
    headings = [
        line for cell in cells(notebook, "markdown") for line in text(cell).splitlines() if line.startswith("#")
    ]
    assert headings[0].startswith(f"# {int(path.name[:2])}. ")
    assert any(line.startswith("## By hand") for line in headings)
    assert any(line.startswith(("## By the library", "## With the library")) for line in headings)
    assert headings[-1].startswith("## The question: ")
    last = max(
        index for index, cell in enumerate(notebook["cells"]) if cell["id"] == "question" or "show()" in text(cell)
    )
    assert any("image/png" in output.get("data", {}) for output in notebook["cells"][last]["outputs"])
    assert any("**The answer.**" in text(cell) for cell in notebook["cells"][last:])


@every_notebook
def test_it_is_stored_with_outputs_small_and_steady(path: Path) -> None:
    notebook = stored(path)
    assert path.stat().st_size <= LARGEST
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in ids)
    assert all(not cell["metadata"] for cell in notebook["cells"])
    outputs = [output for cell in cells(notebook, "code") for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    assert not re.search(r"/tmp/|/home/|/work/|0x[0-9a-f]{6}", printed)


@every_notebook
def test_its_links_lead_somewhere(path: Path) -> None:
    for cell in cells(stored(path), "markdown"):
        assert "!" not in re.sub(r"!\[", "", text(cell))
        for target in re.findall(r"\]\((?!https?:)([^)#]*)[^)]*\)", text(cell)):
            assert (path.parent / target).exists(), target

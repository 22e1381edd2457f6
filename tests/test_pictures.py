"""The pictures of the design, held against the code: what they name exists, and neighbours know each other."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

import quickstudy

ROOT = Path(quickstudy.__file__).parent
DESIGN = (Path(__file__).parent.parent / "docs" / "design.md").read_text()
PICTURES = re.findall(r"<!-- picture[^>]*-->\n```text\n(.*?)```", DESIGN, flags=re.S)
_STAGE = re.compile(r"([A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)*)\s{2,}([\w/]+\.py)")


def stages(picture: str) -> list[tuple[list[str], str]]:
    """(what is called, in which file), from top to bottom."""
    return [(names.split(", "), path) for names, path in _STAGE.findall(picture)]


def defined(path: str) -> set[str]:
    """Functions and classes of a module, and 'Class.method'."""
    names: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def knows(path: str, other: str) -> bool:
    """Whether one module imports the other, or the package or contract that stands for it."""
    module = "quickstudy." + other.removesuffix(".py").replace("/", ".")
    package = module.rpartition(".")[0]
    imported = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return module in imported or (package != "quickstudy" and package in imported)


def test_there_are_the_pictures_that_are_promised() -> None:
    assert len(PICTURES) == 5 and all(len(stages(picture)) > 3 for picture in PICTURES)


@pytest.mark.parametrize("picture", PICTURES, ids=range(len(PICTURES)))
def test_a_picture_shows_what_is_there(picture: str) -> None:
    for names, path in stages(picture):
        owners = {name.partition(".")[0] for name in defined(path)}
        for name in names:
            known = name in defined(path) or name.partition(".")[0] not in owners
            assert known, f"{path} has no {name}"
        assert any(name in defined(path) for name in names) or path in ("targets/answers/base.py",), f"{path}: {names}"


@pytest.mark.parametrize("picture", PICTURES, ids=range(len(PICTURES)))
def test_neighbours_in_a_picture_import_one_another(picture: str) -> None:
    for (_, one), (_, other) in pairwise(stages(picture)):
        assert one == other or knows(one, other) or knows(other, one), f"{one} and {other} do not know each other"

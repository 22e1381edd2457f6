"""Nothing outside formats/ and targets/ asks which kind a task or an input is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import quickstudy

ROOT = Path(quickstudy.__file__).parent
CONCRETE = {
    f"quickstudy.{package}.{path.stem}"
    for package, kinds in (("formats", ("image", "series", "table", "array")), ("targets", ("classes", "numbers")))
    for path in (ROOT / package / f"{kind}.py" for kind in kinds)
}
KINDS = {"Image", "Series", "Table", "Array", "Classes", "Numbers", "ClassAnswer", "NumberAnswer"}
WORDS = {"accuracy", "mse", "classification", "regression"}
FILES = [p for p in sorted(ROOT.rglob("*.py")) if p.relative_to(ROOT).parts[0] not in ("formats", "targets")]


def questions(code: str) -> Iterator[str]:
    """The lines of a file that ask for a kind."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module in CONCRETE:
            yield f"{node.lineno}: imports {node.module}"
        elif isinstance(node, ast.Import) and CONCRETE & {alias.name for alias in node.names}:
            yield f"{node.lineno}: imports a concrete format or target"
        elif isinstance(node, ast.Attribute) and node.attr == "kind" and "spec" in ast.unparse(node.value):
            yield f"{node.lineno}: asks {ast.unparse(node)}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in WORDS:
            yield f"{node.lineno}: names {node.value!r}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            one, kinds = (ast.unparse(argument) for argument in node.args)
            asked = {word.strip(" ()").rpartition(".")[2] for part in kinds.split("|") for word in part.split(",")}
            of_inputs = one == "x" or one.endswith(".x") or one in ("images", "inputs", "features")
            if asked & KINDS or (of_inputs and asked & {"dict", "Mapping", "Tensor"}):
                yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "line",
    [
        "from quickstudy.formats.image import Image",
        "import quickstudy.targets.classes",
        "x = 1 if spec.kind == 3 else 2",
        "y = {'accuracy': 1}",
        "isinstance(format, formats.Image)",
        "isinstance(target, (Classes, int))",
        "isinstance(examples.x, dict)",
        "isinstance(x, Tensor)",
    ],
)
def test_a_question_would_be_found(line: str) -> None:
    assert list(questions(line))


def test_what_is_looked_for_is_there() -> None:
    assert all((ROOT / Path(*name.split(".")[1:])).with_suffix(".py").is_file() for name in CONCRETE)
    assert len(FILES) > 150


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_line_asks_for_the_kind(path: Path) -> None:
    assert not list(questions(path.read_text()))

"""Nothing outside formats/ and targets/ asks which kind a task or an input is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import quickstudy
from quickstudy.registry import formats, targets
from quickstudy.targets import Answer

ROOT = Path(quickstudy.__file__).parent
PACKAGES = ("quickstudy.formats", "quickstudy.targets")
OURS = [kind for registry in (formats, targets) for kind in registry.values() if kind.__module__.startswith(PACKAGES)]
MODULES = {kind.__module__ for kind in OURS}
ANSWERS = {kind.__name__ for kind in Answer.__subclasses__() if kind.__module__.startswith(PACKAGES)}
KINDS = {kind.__name__ for kind in OURS} | ANSWERS
CONTAINERS = {"dict", "Mapping", "MutableMapping", "Tensor"}
INPUTS = {"x", "inputs", "images", "features"}
WORDS = {"accuracy", "mse", "classification", "regression"}
FILES = [p for p in sorted(ROOT.rglob("*.py")) if p.relative_to(ROOT).parts[0] not in ("formats", "targets")]


def questions(code: str) -> Iterator[str]:
    """The lines of a file that ask for a kind."""
    for node in ast.walk(ast.parse(code)):
        if asked := _question(node):
            yield f"{getattr(node, 'lineno', 0)}: {asked}"


def _question(node: ast.AST) -> str:
    match node:
        case ast.ImportFrom(module=str(module)) if module in MODULES or module.startswith(PACKAGES):
            given = {alias.name for alias in node.names}
            concrete = module in MODULES or given & KINDS or {f"{module}.{name}" for name in given} & MODULES
            return f"imports {', '.join(sorted(given))} of {module}" if concrete else ""
        case ast.Import() if names := MODULES & {alias.name for alias in node.names}:
            return f"imports {names}"
        case ast.Attribute(value=ast.Name("formats" | "targets") | ast.Attribute(attr="formats" | "targets")):
            return f"names {ast.unparse(node)}" if node.attr in KINDS else ""
        case ast.Attribute(attr="kind") if "spec" in ast.unparse(node.value):
            return f"asks {ast.unparse(node)}"
        case ast.Constant(value=str(word)) if word in WORDS:
            return f"names {word!r}"
        case ast.Call(func=ast.Name("isinstance"), args=[one, kinds]):
            return _asked(one, kinds, ast.unparse(node))
        case ast.Compare(left=ast.Call(func=ast.Name("type"), args=[one]), comparators=[kinds]):
            return _asked(one, kinds, ast.unparse(node))
        case ast.MatchClass(cls=cls) if _names(cls) & KINDS:
            return f"matches {ast.unparse(node)}"
    return ""


def _asked(one: ast.expr, kinds: ast.expr, text: str) -> str:
    """The text of a comparison of types, if it tells kinds apart."""
    of_inputs = ast.unparse(one).rpartition(".")[2] in INPUTS
    return text if _names(kinds) & (KINDS | CONTAINERS if of_inputs else KINDS) else ""


def _names(expression: ast.expr) -> set[str]:
    """Every name in an expression, whatever it is an attribute of."""
    nodes = list(ast.walk(expression))
    return {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}


@pytest.mark.parametrize(
    "line",
    [
        "from quickstudy.formats.image import Image",
        "from quickstudy.formats.image import Helper",
        "from quickstudy.formats import Format, Image",
        "from quickstudy.targets import numbers",
        "from quickstudy.targets import Answer, ClassAnswer",
        "import quickstudy.targets.classes",
        "import quickstudy as qs; f = qs.formats.Table(columns=3)",
        "t = targets.Classes()",
        "x = 1 if spec.kind == 3 else 2",
        "y = run.spec.kind == 'a'",
        "y = {'accuracy': 1}",
        "isinstance(format, formats.Image)",
        "isinstance(target, (Classes, int))",
        "isinstance(target, Classes | int)",
        "isinstance(examples.x, dict)",
        "isinstance(x, torch.Tensor)",
        "isinstance(features, collections.abc.Mapping)",
        "type(x) is dict",
        "type(self.format) == Image",
        "match target:\n    case Numbers():\n        pass",
    ],
)
def test_a_question_would_be_found(line: str) -> None:
    assert list(questions(line))


@pytest.mark.parametrize(
    "line",
    [
        "from quickstudy.formats import Format, Leaf",
        "from quickstudy.formats.numeric import as_numbers",
        "from quickstudy.targets.answers.base import Answer",
        "formats.make('image', size=28)",
        "isinstance(options, dict)",
        "isinstance(target, Target)",
        "'the accuracy of it'",
        "registry.kind",
    ],
)
def test_what_asks_for_no_kind_is_let_through(line: str) -> None:
    assert not list(questions(line))


def test_what_is_looked_for_is_there() -> None:
    assert {"Image", "Series", "Table", "Array", "Classes", "Numbers", "ClassAnswer", "NumberAnswer"} <= KINDS
    assert all((ROOT / Path(*name.split(".")[1:])).with_suffix(".py").is_file() for name in MODULES)
    assert len(FILES) > 150


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_line_asks_for_the_kind(path: Path) -> None:
    assert not list(questions(path.read_text()))

"""Imports run one way, and `import quickstudy` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import quickstudy

ROOT = Path(quickstudy.__file__).parent
ORDER = (
    {"brief", "errors", "gaps", "hints", "packages", "space", "traced", "traits", "version"},
    {"episode", "rng", "files", "hub", "modules", "options", "registry", "cells", "terminal"},
    {"entries", "masked", "systems", "tally"},
    {"storage", "workers"},
    {"simulators"},
    {"targets"},
    {"formats"},
    {"pages"},
    {"spec"},
    {"models", "heads", "inner", "tasks"},
    {"learners"},
    {"metagrads"},
    {"engine"},
    {"evaluation"},
    {"trust"},
    {"training"},
    {"deploy"},
    {"runs"},
    {"report"},
    {"memory", "averaging", "optim", "select", "rl", "testing"},
    {"recipes"},
    {"choosing"},
    {"search", "shipped"},
    {"sklearn", "serve"},
    {"cli"},
)
FREE = {"", "__main__"}  # the package itself: it names what is public, and only the command line may read it
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
MODULES = sorted(ROOT.rglob("*.py"))


def part_of(module: str) -> str:
    """'heads' for 'quickstudy.heads', '' for 'quickstudy'."""
    return module.removeprefix("quickstudy").lstrip(".").split(".")[0]


def imports(path: Path) -> set[str]:
    """The parts of quickstudy that the module at `path` imports anywhere, in functions and for types included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {part_of(n.name) for n in node.names if n.name.split(".")[0] == "quickstudy"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            if node.module == "quickstudy":
                found |= {n.name if n.name in LEVEL else "" for n in node.names}
            elif node.module and node.module.startswith("quickstudy."):
                found.add(part_of(node.module))
    return found


def owner(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py").replace("__init__", "")


@pytest.mark.parametrize(
    "path", [p for p in MODULES if owner(p) not in FREE], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_no_module_imports_what_lies_above_it(path: Path) -> None:
    mine = owner(path)
    assert mine in LEVEL, f"{mine} has no place in the order of imports: give it one here and in the design"
    assert mine == "cli" or "" not in imports(path), f"{path.relative_to(ROOT)} imports the package that imports it"
    upward = {name for name in imports(path) - {""} if LEVEL[name] > LEVEL[mine]}
    assert not upward, f"{path.relative_to(ROOT)} imports {sorted(upward)}, which lie above {mine}"


def test_parts_on_one_level_do_not_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for path in MODULES:
        if owner(path) not in FREE:
            edges.setdefault(owner(path), set()).update(imports(path) - {owner(path), ""})

    def reachable(name: str) -> set[str]:
        seen: set[str] = set()
        stack = [*edges.get(name, ())]
        while stack:
            if (one := stack.pop()) not in seen:
                seen.add(one)
                stack += edges.get(one, ())
        return seen

    assert not {name for name in edges if name in reachable(name)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Of whatever packages; imports inside functions and for types count as well."""
    names = {".".join(("quickstudy", *path.relative_to(ROOT).with_suffix("").parts)): path for path in MODULES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    edges: dict[str, set[str]] = {}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in names:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                edges.setdefault(name, set()).update((inner & names.keys()) or {node.module})
    edges.pop("quickstudy")  # what is public, by name

    def below(name: str) -> set[str]:
        seen: set[str] = set()
        stack = [*edges.get(name, ())]
        while stack:
            if (one := stack.pop()) not in seen:
                seen.add(one)
                stack += edges.get(one, ())
        return seen

    assert not {name for name in edges if name in below(name)}


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_using_quickstudy_loads_nothing_that_only_some_commands_need() -> None:
    heavy = ("PIL", "rich", "tyro", "matplotlib", "tensorboard")
    everything = "import sys, quickstudy; [getattr(quickstudy, name) for name in quickstudy.__all__]"
    assert run(f"{everything}; print([name for name in {heavy!r} if name in sys.modules])") == "[]"


def test_help_needs_no_torch() -> None:
    program = "import sys; from quickstudy.cli import main; main(['--help']); print('torch' in sys.modules)"
    assert run(program).endswith("False")


def test_what_is_public_is_there_whatever_was_imported_first() -> None:
    program = (
        "from quickstudy.training.config import RunConfig; import quickstudy as qs; "
        "print(all(callable(f) for f in (qs.train, qs.evaluate, qs.resume, qs.load)), "
        "[name for name in qs.__all__ if name not in dir(qs)], qs.RunConfig is RunConfig)"
    )
    assert run(program) == "True [] True"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = quickstudy.trian  # type: ignore[attr-defined]


def test_a_registry_knows_our_parts_without_their_packages_being_imported() -> None:
    program = "from quickstudy.registry import learners, recipes; print('maml' in learners, 'demo' in recipes)"
    assert run(program) == "True True"
    program = (
        "from quickstudy.registry import learners; from quickstudy.errors import ConfigError\n"
        "try: learners.register('maml')(lambda module, spec: None)\n"
        "except ConfigError as error: print(error)"
    )
    assert "already a learner called 'maml'" in run(program)

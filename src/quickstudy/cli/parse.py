"""What the commands share: reading options, finding runs, printing tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from quickstudy.errors import unknown_name
from quickstudy.storage.folders import RUNS

T = TypeVar("T")


def parse(kind: Callable[..., T], command: str, argv: Sequence[str], default: Any = None) -> T:
    """Options of `command` as an instance of the dataclass `kind`; tyro prints help and mistakes by itself."""
    import tyro

    extra = {} if default is None else {"default": default}
    options: T = tyro.cli(kind, prog=f"quickstudy {command}", args=list(argv), **extra)
    return options


def find_run(name: str) -> Path:
    """The folder of a run: a path, or a name under runs/."""
    for folder in (Path(name), RUNS / name):
        if (folder / "config.json").exists():
            return folder
    raise unknown_name("run", name, run_names())


def run_names() -> list[str]:
    """The runs under runs/, by name."""
    return sorted(path.parent.name for path in RUNS.glob("*/config.json"))


def warn(text: str) -> None:
    """Print a warning; nothing if there is none."""
    if text:
        print(f"Warning: {text}")


def console() -> Any:
    """Where answers go: standard output, at its full width when it is a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        drawn.add_column(column, no_wrap=index == 0)
    for row in rows:
        drawn.add_row(*row)
    console().print(drawn)

"""A progress bar on stderr for work that takes longer than a moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from quickstudy.terminal import console

T = TypeVar("T")
_MANY_FILES = 3000  # about a second of reading


def with_progress(files: Sequence[T], description: str) -> Iterable[T]:
    """`files` one by one, with a progress bar if there are many."""
    if len(files) < _MANY_FILES:
        return files
    from rich.markup import escape
    from rich.progress import track

    return track(files, escape(description), console=console(stderr=True), transient=True)

"""Reading many files at once: in threads, into memory, or into a file that stands for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from quickstudy.errors import DataError, QuickstudyError
from quickstudy.formats.progress import with_progress
from quickstudy.formats.records import Broken

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE = 64  # files that are read ahead
_SOON = 0.02  # seconds in which files are read without threads
_placed: ContextVar[tuple[Path, dict[int, Path]] | None] = ContextVar("placed", default=None)


def read_all(
    files: Sequence[T],
    read: Callable[[T], R],
    broken: Broken,
    left_out: list[str],
    description: str,
    unread: tuple[type[QuickstudyError], ...] = (DataError,),
) -> Iterator[tuple[int, R]]:
    """What `read` makes of each file, in their order, and which file it is; of many or large ones, in as many
    threads as there are cores.

    broken: whether one of the errors `unread` is raised ('refuse'), or goes to `left_out` in words ('skip').
    """

    def one(file: T) -> R | QuickstudyError:
        try:
            return read(file)
        except unread as error:
            return error

    numbers = iter(with_progress(range(len(files)), description))
    for found in _read(one, files):
        number = next(numbers)
        if not isinstance(found, QuickstudyError):
            yield number, found
        elif broken == "refuse":
            raise found
        else:
            left_out.append(str(found))


def _read(read: Callable[[T], R], files: Sequence[T]) -> Iterator[R]:
    """What `read` makes of each file. The first are read here: a few small ones are done before threads have begun."""
    until, here = time.perf_counter() + _SOON, 0
    while here < len(files) and (not here or time.perf_counter() < until):
        yield read(files[here])
        here += 1
    if here == len(files):
        return
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(here, len(files), _AT_ONCE):
            yield from threads.map(read, files[start : start + _AT_ONCE])


def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor to be filled: in memory, or, within `placing`, in a file. Raises OSError where the disk is full."""
    size = prod(shape)
    if (where := _placed.get()) is None or not size:
        return torch.empty(shape, dtype=dtype)
    folder, known = where
    path = folder / f"room{len(known)}.bin"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size * dtype.itemsize)  # a full disk must not be found on writing a page
    x = torch.from_file(str(path), shared=True, size=size, dtype=dtype)
    known[x.data_ptr()] = path
    return x.reshape(shape)


@contextmanager
def placing(folder: Path) -> Iterator[dict[int, Path]]:
    """Within it, `room` is in files in `folder`; gives these by where they lie in memory."""
    known: dict[int, Path] = {}
    token = _placed.set((folder, known))
    try:
        yield known
    finally:
        _placed.reset(token)

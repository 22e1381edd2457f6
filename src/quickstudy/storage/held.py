"""Folders that one process alone writes to. The system keeps the lock, so that nobody is stuck after a kill."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Self

_log = logging.getLogger("quickstudy")


class Held:
    """A folder that nobody else can hold until `release`, the end of a `with`, or the end of this process."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder, self._descriptor = folder, descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def hold(folder: Path, wait: bool = False) -> Held | None:
    """Hold `folder`, which is made if it is not there; None if somebody else holds it and nobody is to `wait`.

    On a file system that knows no locks the folder is only made, with a warning. Raises OSError where it cannot be.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # whoever held it was done and took it away, as it was empty
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            _log.warning("%s cannot be locked (%s): let no other process write to it meanwhile.", folder, error)
        if _same(descriptor, folder):
            return Held(folder, descriptor)
        os.close(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While nobody else does something to the file or folder at `path` under `alone`; waits until that is so.

    The lock is a folder beside it, which goes again.
    """
    target = path.resolve()
    folder = target.with_name(f".{target.name}.held")
    with hold(folder, wait=True) or nullcontext():
        try:
            yield
        finally:
            with suppress(FileNotFoundError):  # where nothing can be locked, somebody else may have been as far
                folder.rmdir()  # those who wait for it see that it is gone, and make it anew


def _same(descriptor: int, folder: Path) -> bool:
    """Whether the folder that was opened is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False

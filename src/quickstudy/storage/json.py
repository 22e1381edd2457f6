"""JSON on disk: settings, facts and results. What is read is looked at before anything is built of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quickstudy.errors import CheckpointError, RunError
from quickstudy.files import require_regular
from quickstudy.hints import misfit
from quickstudy.storage.atomic import write_atomically

DEEPEST = 32
"""How many lists and objects may lie within each other."""
LARGEST = 1 << 24
"""Bytes of the largest file that is read, unless more is said to be likely."""
_REMEDY = "Restore it from a copy, or make it anew."


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path, hint: Any = Any, remedy: str = _REMEDY, largest: int = LARGEST) -> Any:
    """What the file holds, of the type `hint`. remedy: what to do about a damaged file. largest: bytes it may have.

    Raises RunError if there is no such file, and CheckpointError, naming the place, if it is not JSON, too large, too
    deep or of another type.
    """
    require_regular(path)
    try:
        if path.stat().st_size > largest:
            raise CheckpointError(f"{path} is larger than {largest >> 20} MiB, so it is none of quickstudy's. {remedy}")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a run or of an adapted model.") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}. Make it readable.") from error
    return parsed(data, str(path), hint, remedy)


def parsed(text: str | bytes, what: str, hint: Any = Any, remedy: str = _REMEDY) -> Any:
    """The value that JSON `text` writes, of the type `hint`; CheckpointError if it is none. what: its name."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} is damaged: it is not valid JSON ({error}). {remedy}") from error
    if not _shallow(value):
        raise CheckpointError(f"{what} is nested more than {DEEPEST} deep, so it is none of quickstudy's. {remedy}")
    return fitting(value, hint, what, remedy)


def fitting(value: Any, hint: Any, what: str, remedy: str = _REMEDY) -> Any:
    """The value that was read, if it is of the type `hint`; CheckpointError, naming the place, if it is not."""
    if wrong := misfit(value, hint, "the whole"):
        raise CheckpointError(f"{what} is damaged: {wrong}. {remedy}")
    return value


def _shallow(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return True
    return False


def _inside(value: Any) -> Iterable[Any]:
    """What lies in a list or an object."""
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()

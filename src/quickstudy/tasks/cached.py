"""Tensors in the user's cache folder, which can be made again: where one cannot be read or written, a line says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from quickstudy.errors import CheckpointError
from quickstudy.files import writing
from quickstudy.storage.tensors import pack, unpack

_NAME = "x"
_log = logging.getLogger("quickstudy")


def read_cached(path: Path, fits: Callable[[Tensor], bool]) -> Tensor | None:
    """The tensor in a file, or None where there is none that `fits`."""
    try:
        x = unpack(path.read_bytes())[_NAME]
    except FileNotFoundError:
        return None
    except (CheckpointError, OSError, KeyError) as error:
        _log.warning("The cached file %s cannot be used (%s): what was in it is made again.", path, error)
        return None
    return x if fits(x) else None


def write_cached(path: Path, x: Tensor) -> None:
    """Keep a tensor for `read_cached`."""
    try:
        with writing(path) as file:
            file.write(pack({_NAME: x}))
    except OSError as error:
        _log.warning("Could not cache %s (%s): it will be made again next time.", path, error)

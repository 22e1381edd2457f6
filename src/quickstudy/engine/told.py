"""All that a module was told, by which it is known again in another process."""

from __future__ import annotations

import io
import logging
from pickle import Pickler
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from quickstudy.storage.tensors import checksum

_log = logging.getLogger("quickstudy")
_digests: Any = WeakTensorKeyDictionary()


def told(module: nn.Module) -> str | None:
    """A checksum of a module's classes, attributes, hooks and other tensors than its parameters and buffers, of which
    the shapes count; None where something in it cannot be named, such as a function that was made in another.

    Functions and classes count by their names, not by their code.
    """
    stream = io.BytesIO()
    try:
        _Telling(stream, module).dump(module)
    except Exception as error:  # whatever the objects of others raise that cannot be pickled
        _log.debug("What %s was told cannot be named: %s", type(module).__name__, error)
        return None
    return checksum(stream.getvalue())


class _Telling(Pickler):
    """Writes a module down as it is in every process: hooks without their numbers, sets of names in order. Nothing that
    was written so is ever read."""

    def __init__(self, stream: io.BytesIO, module: nn.Module) -> None:
        super().__init__(stream, protocol=5)
        self._own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
        self._hooks = {
            id(value): list(value.values())
            for layer in module.modules()
            for name, value in vars(layer).items()
            if "_hooks" in name and isinstance(value, dict)
        }

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return f"{tuple(value.shape)} {value.dtype} {'' if id(value) in self._own else digest(value)}"
        if type(value) in (set, frozenset) and all(isinstance(one, str) for one in value):
            return sorted(value)
        return self._hooks.get(id(value))


def digest(x: Tensor) -> str:
    """A checksum of a tensor's bytes; of one that is known and as it was, without a look at them."""
    version = None if x.is_inference() else x._version
    if x not in _digests or version is None or _digests[x][0] != version:
        data = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        _digests[x] = version, checksum(data, str(tuple(x.shape)), str(x.dtype))
    known: str = _digests[x][1]
    return known

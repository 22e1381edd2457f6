"""How features reach a network: one tensor as it is, several by their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from quickstudy.episode import Features
from quickstudy.formats.base import Format
from quickstudy.formats.records import moved


def arguments(module: nn.Module, x: Features) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and named arguments of a call of `module` with features x.

    Several tensors are given by name, as encoders of text take them; a module whose `forward` does not know the names
    is given the mapping itself.
    """
    if not isinstance(x, Mapping):
        return (x,), {}
    return ((), dict(x)) if _takes(type(module).forward, tuple(x)) else ((x,), {})


def nothing_for(module: nn.Module, format: Format, count: int) -> Features:
    """Features of zeros (count, …), in the precision of the module: what it can be tried on."""
    like = next(module.parameters(), torch.zeros(()))
    return moved(format.nothing(count), torch.zeros((), dtype=like.dtype))


@lru_cache(256)
def _takes(forward: Callable[..., Any], names: tuple[str, ...]) -> bool:
    """Whether a method takes arguments of these names."""
    try:
        inspect.signature(forward).bind(None, **dict.fromkeys(names))
    except TypeError:
        return False
    return True

"""What objects are in a line: tensors by their shapes, networks by their sizes, long things by their beginnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

_LONGEST = 300  # characters of a whole, above which fields that have their defaults are left out
_MOST = 3  # items of what is longer
_PART = 70  # characters of one item
_DEPTH = 1  # of things in things


class Brief:
    """Base of what holds tensors or networks: its `repr` is a line, and so is that of its subclasses that are
    dataclasses, unless they have one of their own."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):  # else `dataclass` would make one
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return brief(self)


def brief(value: Any, depth: int = 0) -> str:
    """`value` in a line.

    >>> brief({"w": torch.zeros(2, 3)})
    "{'w': (2, 3) float32}"
    """
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"{value.item():.4g}" if value.dim() == 0 and not value.is_meta else f"{tuple(value.shape)} {kind}"
    if isinstance(value, nn.Module):
        return f"{type(value).__name__} of {sum(p.numel() for p in value.parameters()):,} parameters"
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _made(value, [(name, getattr(value, name), MISSING) for name in value._fields], depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _several(value, depth)
    if is_dataclass(value) and not isinstance(value, type):
        shown = [one for one in fields(value) if one.repr and not one.name.startswith("_")]
        return _made(value, [(one.name, getattr(value, one.name), one.default) for one in shown], depth)
    if isinstance(value, torch.device):
        return str(value)
    text = " ".join(repr(value).split())
    return text if len(text) <= _PART else f"{text[: _PART - 1]}…"


def _mapping(value: Mapping[Any, Any], depth: int) -> str:
    tensors = [one for one in value.values() if isinstance(one, Tensor)]
    if len(value) > _MOST and len(tensors) == len(value):
        return f"{{{len(value)} tensors of {sum(one.numel() for one in tensors):,} numbers}}"
    if depth > _DEPTH:
        return f"{{{len(value)} entries}}" if value else "{}"
    some = [f"{brief(name)}: {brief(value[name], depth + 1)}" for name in list(value)[:_MOST]]
    return "{" + ", ".join([*some, *([f"… {len(value)} in all"] if len(value) > _MOST else [])]) + "}"


def _several(value: Any, depth: int) -> str:
    left, right = "()" if isinstance(value, tuple) else "[]" if isinstance(value, list) else "{}"
    some = [brief(one, depth + 1) for one in list(value)[:_MOST]]
    if len(value) > _MOST:
        some.append(f"… {len(value)} in all")
    comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
    return f"{left}{', '.join(some)}{comma}{right}"


def _made(value: Any, parts: list[tuple[str, Any, Any]], depth: int) -> str:
    """Something with named parts: (name, part, its default)."""
    name = type(value).__name__
    if depth > _DEPTH:
        return f"{name}(…)" if parts else f"{name}()"
    told = [(f"{key}={brief(part, depth + 1)}", _is(part, default)) for key, part, default in parts]
    text = ", ".join(one for one, _ in told)
    if len(text) > _LONGEST:
        text = ", ".join(one for one, plain in told if not plain)
    return f"{name}({text})"


def _is(part: Any, default: Any) -> bool:
    """Whether a part has its default. Tensors are equal to nothing."""
    return part is default or (not isinstance(part, Tensor) and type(part) is type(default) and bool(part == default))

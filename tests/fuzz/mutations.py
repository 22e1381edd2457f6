"""Small damages to JSON, to bytes and to tensors, as Hypothesis draws them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 1000, 10**9, 10**18, 10**30, -(10**30), 0.0, -0.5, 1e-320, 1e308, -1e308,
    float("nan"), float("inf"), "", " ", "x", "..", "../../etc/passwd", "\x00", "a\nb", "\x1b[31m", "[/x]", "\ud800",
    "=1+1", "x" * 10_000, "999999999999999999999", [], {}, [[]], [None], [1, 2, 3], ["a"] * 50, {"name": 3},
    {"name": "maml", "options": {}}, {"": {}}, {"x": {"y": {"z": []}}},
]  # fmt: skip


def _deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _places(value: Any) -> list[list[Any]]:
    """The paths to everything in plain data, the whole first."""
    paths: list[list[Any]] = [[]]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return paths + [[name, *rest] for name, one in inside for rest in _places(one)]


@st.composite
def damaged_json(draw: st.DrawFn, value: Any) -> Any:
    """Plain data with one to three damages: something odd in a place, a name or entry gone, doubled or renamed."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(value)))
        odd = draw(st.one_of(st.sampled_from(ODD), st.just(40).map(_deep)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                return copy.deepcopy(odd)
            continue
        owner = value
        for name in path[:-1]:
            owner = owner[name]
        how = draw(st.sampled_from(["put", "put", "put", "drop", "double", "rename"]))
        if how == "put":
            owner[path[-1]] = copy.deepcopy(odd)
        elif how == "drop":
            del owner[path[-1]]
        elif isinstance(owner, list):
            owner.append(copy.deepcopy(owner[path[-1]]))
        elif how == "rename":
            owner[draw(st.sampled_from(["", "x", "name", "\ud800", "__class__"]))] = owner.pop(path[-1])
    return value


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that are cut off, flipped, repeated, filled with others, or followed by more."""
    how = draw(st.sampled_from(["cut", "flip", "flip", "zeros", "insert", "repeat", "append", "swap"]))
    at = draw(st.integers(0, max(0, len(data) - 1)))
    size = draw(st.integers(1, 64))
    changed = bytearray(data)
    if how == "cut":
        return data[:at]
    if how == "flip":
        for _ in range(draw(st.integers(1, 4))):
            place = draw(st.integers(0, max(0, len(data) - 1)))
            if data:
                changed[place] ^= 1 << draw(st.integers(0, 7))
        return bytes(changed)
    if how == "zeros":
        changed[at : at + size] = bytes(size)
    elif how == "insert":
        changed[at:at] = draw(st.binary(min_size=1, max_size=64))
    elif how == "repeat":
        changed[at:at] = changed[at : at + size] * draw(st.integers(1, 50))
    elif how == "append":
        changed += draw(st.binary(min_size=1, max_size=64))
    else:
        changed[at : at + size], changed[:size] = changed[:size], changed[at : at + size]
    return bytes(changed)


@st.composite
def damaged_tensors(draw: st.DrawFn, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of which one is gone, renamed, of another shape or type, or holds NaN or huge values."""
    changed = {name: value.clone() for name, value in tensors.items()}
    name = draw(st.sampled_from(sorted(changed)))
    how = draw(
        st.sampled_from(["gone", "renamed", "shape", "flat", "empty", "type", "huge", "nan", "negative", "added"])
    )
    value = changed[name]
    if how in ("gone", "renamed"):
        value = changed.pop(name)
    if how == "renamed":
        changed[
            draw(st.sampled_from(["x", "", "meta.", "task.x", "optimizer.9.step", "optimizer.x.y", "params.x"]))
        ] = value
    elif how == "shape":
        changed[name] = torch.zeros(draw(st.lists(st.integers(0, 5), max_size=4)), dtype=value.dtype)
    elif how == "flat":
        changed[name] = value.reshape(-1)
    elif how == "empty":
        changed[name] = value.new_empty(0)
    elif how == "type":
        changed[name] = value.to(
            draw(st.sampled_from([torch.float64, torch.float16, torch.int64, torch.bool, torch.uint8]))
        )
    elif how == "huge" and value.is_floating_point():
        changed[name] = torch.full_like(value, 3e38)
    elif how == "nan" and value.is_floating_point():
        changed[name] = torch.full_like(value, torch.nan)
    elif how == "negative" and value.is_floating_point():
        changed[name] = -value.abs() - 1
    elif how == "added":
        changed["one.more"] = torch.zeros(3)
    return changed

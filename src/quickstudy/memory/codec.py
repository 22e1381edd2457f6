"""The parameters of a task as bytes: float32, bfloat16, or 8-bit differences from φ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from quickstudy.entries import not_finite
from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, unknown_name
from quickstudy.storage.tensors import pack, unpack

Codec = Literal["float32", "bfloat16", "int8"]
"""How parameters are stored. 'int8': the difference from φ, in 255 levels for each tensor; 4 bytes become 1."""
_LEVELS, _DELTA, _SCALE = 127, "delta.", "scale."


def encode(task: Params, base: Params, codec: Codec) -> bytes:
    """`task` as safetensors bytes. base: φ's values of the same names, for 'int8'; 0 stands for what it lacks."""
    if codec not in get_args(Codec):
        raise unknown_name("way to store parameters", codec, get_args(Codec))
    if codec == "int8":
        return pack(_differences(task, base))
    dtype = torch.float32 if codec == "float32" else torch.bfloat16
    return pack({name: value.to(dtype) if value.is_floating_point() else value for name, value in task.items()})


def decode(data: bytes, base: Params, codec: Codec) -> Params:
    """The inverse of `encode`, but for rounding: floating-point values in float32, on the CPU."""
    stored = unpack(data)
    if codec != "int8":
        return {name: value.float() if value.is_floating_point() else value for name, value in stored.items()}
    wrong = [n for n in stored if n.startswith(_DELTA) and _SCALE + n[len(_DELTA) :] not in stored]
    if wrong:
        raise CheckpointError(f"Stored differences are damaged: {wrong[0]!r} has no scale.")
    deltas = {name.removeprefix(_DELTA): value for name, value in stored.items() if name.startswith(_DELTA)}
    return {name: delta.float() * stored[_SCALE + name] + _origin(name, delta, base) for name, delta in deltas.items()}


def misplaced(task: Params, network: Params, body: Sequence[str]) -> str:
    """What keeps `task` from being parameters of a network; '' if nothing does.

    body: the names that every task has, and of the network's shapes; a head may have other outputs.
    """
    if missing := sorted(set(body) - task.keys()):
        return f"it lacks {missing[0]!r}"
    if strange := sorted(task.keys() - network.keys()):
        return f"its network has no {strange[0]!r:.80}"
    for name, value in task.items():
        wanted = tuple(network[name].shape)
        if tuple(value.shape) != wanted if name in body else value.dim() != len(wanted):
            return f"{name!r} has the shape {tuple(value.shape)}, and its network {wanted}"
        if value.is_floating_point() != network[name].is_floating_point():
            return f"{name!r} is {value.dtype}, and in its network {network[name].dtype}"
    return infinite(task)


def infinite(task: Params) -> str:
    """What keeps `task` from being anything's parameters; '' if nothing does."""
    bad = not_finite(task)
    return "" if bad is None else f"{bad!r} holds NaN or infinite values"


def _differences(task: Params, base: Params) -> Params:
    differences: Params = {}
    for name, value in task.items():
        delta = value.detach().cpu().float() - _origin(name, value, base)
        scale = delta.abs().amax() / _LEVELS if delta.numel() else delta.new_zeros(())
        differences[_DELTA + name] = (delta / scale.clamp(min=1e-30)).round().clamp(-_LEVELS, _LEVELS).to(torch.int8)
        differences[_SCALE + name] = scale
    return differences


def _origin(name: str, like: Tensor, base: Params) -> Tensor:
    value = base.get(name)
    return torch.zeros(like.shape) if value is None or value.shape != like.shape else value.detach().cpu().float()

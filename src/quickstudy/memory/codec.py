"""The parameters of a task as bytes: float32, bfloat16, or 8-bit differences from φ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, unknown_name

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
    found = {}
    for name, value in stored.items():
        if name.startswith(_DELTA):
            key = name.removeprefix(_DELTA)
            found[key] = value.float() * stored[_SCALE + key] + _origin(key, value, base)
    return found


def _differences(task: Params, base: Params) -> Params:
    found: Params = {}
    for name, value in task.items():
        delta = value.detach().cpu().float() - _origin(name, value, base)
        scale = delta.abs().amax() / _LEVELS if delta.numel() else delta.new_zeros(())
        found[_DELTA + name] = (delta / scale.clamp(min=1e-30)).round().clamp(-_LEVELS, _LEVELS).to(torch.int8)
        found[_SCALE + name] = scale
    return found


def _origin(name: str, like: Tensor, base: Params) -> Tensor:
    value = base.get(name)
    return torch.zeros(like.shape) if value is None or value.shape != like.shape else value.detach().cpu().float()


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as safetensors bytes."""
    return bytes(save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}))


def unpack(data: bytes) -> Params:
    """The inverse of `pack`; CheckpointError for bytes that are no tensors."""
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise CheckpointError(f"Stored parameters are damaged: they are not safetensors ({error}).") from error


def checksum(*parts: bytes | str) -> str:
    """SHA-256 over the parts, each with its length, so that no two lists of parts have the same."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()

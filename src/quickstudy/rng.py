"""Random numbers that are a pure function of a key, so that episode i never depends on what came before it.

A key is an int64 tensor of any shape. `fold` derives new keys, `uniform`, `normal` and `integers` draw from them.
The mixer is the finaliser of SplitMix64 (Steele, Lea & Flood 2014), computed with wrapping int64 arithmetic, so the
same key gives the same numbers on every device and in every batch.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift: torch's `>>` on int64 copies the sign bit, the mask clears those copies."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


@cache
def key(seed: int, *labels: str | int, device: torch.device | str = "cpu") -> Tensor:
    """A scalar key from a seed and any labels, for example `key(0, "omniglot", "train")`."""
    state = torch.tensor(seed, dtype=torch.int64, device=device)
    for label in labels:
        if isinstance(label, str):
            for byte in label.encode():
                state = fold(state, byte)
            state = fold(state, -len(label) - 1)
        else:
            state = fold(state, label)
    return _mix(state + _GOLDEN)


def fold(keys: Tensor, data: Tensor | int) -> Tensor:
    """New keys from `keys` and `data`, which broadcast against each other. Same inputs, same key."""
    return _mix(keys * _GOLDEN + _mix(torch.as_tensor(data, dtype=torch.int64, device=keys.device) + _GOLDEN))


def bits(keys: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Non-negative random int64 below 2^63 of shape (*keys.shape, *shape)."""
    count = math.prod(shape)
    lanes = torch.arange(count, device=keys.device).reshape(shape)
    return _shift(fold(keys.reshape([*keys.shape, *([1] * len(shape))]), lanes), 1)


def uniform(keys: Tensor, shape: tuple[int, ...] = (), low: float = 0.0, high: float = 1.0) -> Tensor:
    """float32 in [low, high) of shape (*keys.shape, *shape)."""
    unit = (bits(keys, shape) >> 39).to(torch.float32) * 2.0**-24
    return low + (high - low) * unit


def normal(keys: Tensor, shape: tuple[int, ...] = ()) -> Tensor:
    """Standard normal float32 of shape (*keys.shape, *shape), by Box and Muller's transform."""
    pair = uniform(keys, (*shape, 2))
    radius = torch.sqrt(-2.0 * torch.log1p(-pair[..., 0]))
    return radius * torch.cos(2.0 * math.pi * pair[..., 1])


def integers(keys: Tensor, high: Tensor | int, shape: tuple[int, ...] = ()) -> Tensor:
    """int64 in [0, high) of shape (*keys.shape, *shape); `high` broadcasts. The bias is below high / 2^63."""
    return bits(keys, shape) % high


def permutation(keys: Tensor, size: int) -> Tensor:
    """A random permutation of 0..size-1 for each key: (*keys.shape, size)."""
    return bits(keys, (size,)).argsort(dim=-1)


def choose(keys: Tensor, population: Tensor, count: int) -> Tensor:
    """`count` distinct integers from [0, population), in random order: (*keys.shape, count).

    Floyd's algorithm (Bentley & Floyd 1987): the work depends on `count`, not on the population, so that choosing
    5 of 100 000 classes costs as much as 5 of 20. Needs population >= count everywhere; the caller checks.
    """
    population = torch.as_tensor(population, device=keys.device).expand(keys.shape)
    draws = bits(keys, (count,))
    chosen = torch.empty((*keys.shape, count), dtype=torch.int64, device=keys.device)
    for j in range(count):
        top = population - count + j
        pick = draws[..., j] % (top + 1)
        taken = (chosen[..., :j] == pick.unsqueeze(-1)).any(dim=-1)
        chosen[..., j] = torch.where(taken, top, pick)
    return chosen.gather(-1, permutation(fold(keys, count), count))

"""Random numbers that are a pure function of a key, so that episode i never depends on what came before it.

A key is an int64 tensor of any shape. `fold` derives new keys, `uniform`, `normal` and `integers` draw from them.
The mixer is the finaliser of SplitMix64 (Steele, Lea & Flood 2014), computed with wrapping int64 arithmetic, so the
same key gives the same numbers on every device and in every batch.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_KEPT = 4096  # lanes of longer draws are not kept


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift: torch's `>>` on int64 copies the sign bit, the mask clears those copies."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """The finaliser; x is overwritten."""
    x = x.bitwise_xor_(_shift(x, 30)).mul_(_MIX_1)
    x = x.bitwise_xor_(_shift(x, 27)).mul_(_MIX_2)
    return x.bitwise_xor_(_shift(x, 31))


@lru_cache(1024)
def _mixed(number: int) -> int:
    """What `_mix` makes of `number + _GOLDEN`, without a tensor."""
    x, low = (number + _GOLDEN) % 2**64, 2**64 - 1
    x = ((x ^ (x >> 30)) * _MIX_1) & low
    x = ((x ^ (x >> 27)) * _MIX_2) & low
    x ^= x >> 31
    return x - 2**64 if x >= 2**63 else x


@lru_cache(128)
def _lanes(count: int, device: torch.device) -> Tensor:
    """What `_mix` makes of `0, 1, … + _GOLDEN`: the same for every key, and half of the work of drawing."""
    return _mix(torch.arange(count, device=device) + _GOLDEN)


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
    if isinstance(data, int):
        return _mix(keys * _GOLDEN + _mixed(data))
    return _mix(keys * _GOLDEN + _mix(torch.as_tensor(data, dtype=torch.int64, device=keys.device) + _GOLDEN))


def split(keys: Tensor, count: int) -> Tensor:
    """`count` keys from each: `fold` of 0, 1, … as a new last axis, (*keys.shape, count)."""
    lanes = _lanes(count, keys.device) if count <= _KEPT else _lanes.__wrapped__(count, keys.device)
    return _mix((keys * _GOLDEN)[..., None] + lanes)


def bits(keys: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Non-negative random int64 below 2^63 of shape (*keys.shape, *shape)."""
    return _shift(split(keys, math.prod(shape)), 1).reshape([*keys.shape, *shape])


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
    lane = torch.arange(count, device=keys.device)
    first = (population - count)[..., None]
    top = first + lane
    draws, shuffle = bits(torch.stack([keys, fold(keys, count)]), (count,))  # the second as in `permutation`
    pick = draws % (top + 1)
    # Pick j is taken if an earlier pick equals it, or if it is the top of an earlier lane that fell back on its top.
    # Chains of such lanes are followed by doubling; lane 0, whose pick is never taken, ends those that have none.
    value, order = pick.sort(dim=-1, stable=True)
    again = torch.zeros_like(value, dtype=torch.bool)
    again[..., 1:] = value[..., 1:] == value[..., :-1]
    taken = torch.empty_like(again).scatter_(-1, order, again)
    before = (pick - first).clamp_(min=0)
    for _ in range((count - 1).bit_length()):
        taken |= taken.gather(-1, before)
        before = before.gather(-1, before)
    return torch.where(taken, top, pick).gather(-1, shuffle.argsort(dim=-1))


def take(keys: Tensor, population: Tensor, count: int) -> Tensor:
    """As `choose`, of populations that may be smaller: then all of [0, population) in random order, and 0 beyond."""
    population = torch.as_tensor(population, device=keys.device).expand(keys.shape)
    drawn = choose(keys, population.clamp(min=count), count)
    beyond = drawn >= population[..., None]
    drawn = drawn.gather(-1, beyond.to(torch.uint8).argsort(dim=-1, stable=True))
    return torch.where(drawn < population[..., None], drawn, 0)

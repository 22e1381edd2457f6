"""Support sets of classes that have unequally many examples (Triantafillou et al. 2020, appendix on sampling)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quickstudy import rng

_SHARE, _WEIGHT = range(2)


def unequal(keys: Tensor, present: Tensor, available: Tensor, most: int) -> Tensor:
    """How many shots each class has, (T, N) int64, from keys (T,): from 1 to `available` (T, N), at most `most` in all.

    The size of the support set is min(most, Σ_c ⌈β a_c⌉), over the classes that are `present` (T, N), with β uniform in
    (0, 1] and a_c available shots. Each class has one of these, and of the others a share proportional to exp(α_c) a_c,
    with α_c uniform in [log ½, log 2), rounded down, as far as it has so many. Meta-Dataset weighs by all examples of a
    class, of which a_c are what queries leave.

    >>> import torch
    >>> given = unequal(torch.arange(3), torch.ones(3, 4).bool(), torch.full((3, 4), 10), 12)
    >>> bool((given >= 1).all() and (given.sum(1) <= 12).all())
    True
    """
    available = available * present
    share = 1 - rng.uniform(rng.fold(keys, _SHARE))
    total = (share[:, None] * available).ceil().sum(1).clamp(max=most)
    scale = rng.uniform(rng.fold(keys, _WEIGHT), (present.shape[1],), math.log(0.5), math.log(2))
    weight = scale.exp() * available
    weight = weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    rest = (total - present.sum(1)).clamp(min=0)
    return torch.minimum((weight * rest[:, None]).floor().long() + 1, available)

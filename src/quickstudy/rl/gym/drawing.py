"""Which tasks a split has, and how they are drawn."""

from __future__ import annotations

import itertools
from functools import cache

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.simulators.vary import Variation, Variations

_HOLDS_OUT = 5  # of fewer tasks than this, none is held out


@cache
def few(variations: Variations, split: str) -> list[tuple[float, ...]]:
    """The numbers of each task of a split, where all are of a few, so that there are finitely many; else none.

    Of five tasks or more, a fifth is kept for validation and a fifth for tests, always the same; of fewer, all splits
    have all.
    """
    if variations.level or not all(one.choices for one in variations.all):
        return []
    each = list(itertools.product(*(one.choices for one in variations.all)))
    each = [each[i] for i in rng.permutation(rng.key(0, "environments"), len(each)).tolist()]
    if len(each) < _HOLDS_OUT:
        return each
    share = len(each) // 5
    return {"val": each[:share], "test": each[share : 2 * share]}.get(split, each[2 * share :])


def names(variations: Variations, split: str) -> list[str]:
    """Of the tasks of a split, in words; empty where they are infinitely many."""
    return [
        ", ".join(f"{name} {number:g}" for name, number in variations.numbers(values).items())
        for values in few(variations, split)
    ]


def draw(variations: Variations, split: str, keys: Tensor) -> Tensor:
    """The numbers of tasks with keys (n,): float32 (n, P)."""
    if held := few(variations, split):
        table = torch.tensor(held, dtype=torch.float32, device=keys.device)
        return table[rng.integers(keys, len(held))]
    columns = [_column(one, rng.fold(keys, i)) for i, one in enumerate(variations.all)]
    return torch.stack(columns, -1) if columns else torch.zeros(len(keys), 0, device=keys.device)


def _column(one: Variation, keys: Tensor) -> Tensor:
    if not one.choices:
        return rng.uniform(keys, (), one.low, one.high)
    table = torch.tensor(one.choices, dtype=torch.float32, device=keys.device)
    return table[rng.integers(keys, len(one.choices))]

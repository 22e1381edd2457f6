"""What makes columns of made-up tables like those of real ones: categories, columns without a meaning, gaps.

T tasks, n rows, C columns. Tensors about a task or its columns have axes of size 1 in the place of the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.masked import mean_and_spread, one_hot
from quickstudy.tasks.structure import between, standard

_LEVELS = 24  # categories of a column, at most


def sometimes(share: float, most: float, each: Iterator[Tensor]) -> Tensor:
    """(T, 1, 1): 0 in all but a share of the tasks, and in these a number below `most`."""
    return rng.uniform(next(each), (1, 1), 0.0, most) * (rng.uniform(next(each), (1, 1)) < share)


def with_categories(x: Tensor, each: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """(T, n, C): columns of which some are cut to categories, of which each has a value of its own; and the number of
    the category from 0 on, −1 where there is none.

    Categories are of unequal frequency; in some columns their values are in order, as those of grades are.
    """
    columns = x.shape[2]
    chosen = rng.uniform(next(each), (1, columns)) < sometimes(0.7, 1.0, each)
    levels = between(next(each), 2, _LEVELS + 1, (1, columns)).floor()
    share = (0.5 * (1 + torch.erf(x / 2**0.5))).pow(between(next(each), 0.4, 2.5, (1, columns)))
    level = (share * levels).floor().clamp(max=_LEVELS - 1).long()
    values = rng.normal(next(each), (_LEVELS, columns)).gather(1, level)
    ordered = rng.uniform(next(each), (1, columns)) < 0.3
    varies = x.abs().amax(1, keepdim=True) > 0
    cut = standard(torch.where(ordered, level.to(x.dtype), values))
    return torch.where(chosen & varies, cut, x), torch.where(chosen & varies, level, -1)


def idle_columns(columns: int, each: Iterator[Tensor]) -> Tensor:
    """(T, 1, C) bool: which columns mean nothing."""
    return rng.uniform(next(each), (1, columns)) < sometimes(0.5, 0.7, each)


def shuffled(x: Tensor, level: Tensor, idle: Tensor, each: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """The same, with idle columns shuffled by themselves: they look like others and say nothing."""
    rows = torch.arange(x.shape[1], device=x.device)[None, :, None]
    order = torch.where(idle, rng.bits(next(each), tuple(x.shape[1:])).argsort(1), rows)
    return x.gather(1, order), level.gather(1, order)


def gaps_in(x: Tensor, each: Iterator[Tensor]) -> Tensor:
    """(T, n, C) bool: which cells are missing; in some columns at random, in others where the value is high."""
    columns = x.shape[2]
    chosen = rng.uniform(next(each), (1, columns)) < sometimes(0.4, 1.0, each)
    rate = between(next(each), 0.01, 0.5, (1, columns))
    high = torch.where(rng.uniform(next(each), (1, columns)) < 0.5, 2.0 * (x > 0), 1.0)
    varies = x.abs().amax(1, keepdim=True) > 0
    return chosen & varies & (rng.uniform(next(each), tuple(x.shape[1:])) < rate * high)


def as_cells(x: Tensor, level: Tensor, gaps: Tensor, seen: Tensor) -> Tensor:
    """(T, n, C, 3): cells as the format has them whose schema is learned from the rows that are `seen` (T, n).

    Categories are numbered by their frequency there; those that were not seen are missing.
    """
    category, known = level >= 0, seen[:, :, None] & ~gaps
    counts = (one_hot(level, _LEVELS) & known[..., None]).sum(1)  # (T, C, levels)
    rank = counts.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
    at = level.clamp(min=0).transpose(1, 2)
    number, count = (of.gather(2, at).transpose(1, 2) for of in (rank, counts))
    gaps = gaps | (category & (count == 0))
    value = torch.where(category, number.to(x.dtype), x)
    mean, spread = mean_and_spread(value, known & ~gaps, dim=1)
    value = torch.where((spread > 0) & ~gaps, (value - mean) / torch.where(spread > 0, spread, 1.0), 0.0)
    code = torch.where(category & ~gaps, number + 1, 0)
    return torch.stack([value, gaps.to(x.dtype), code.to(x.dtype)], dim=3)

"""Figures of how far answers can be believed: of ranks, of calibration, and with intervals by resampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.evaluation.estimate import Estimate

BINS = 15
_DRAWS = 400  # of the bootstrap


class Outcome(NamedTuple):
    """What became of one promise, in words: what it says, how often that was promised ('' if it was not), and found."""

    what: str
    promised: str
    found: str


def share(one: Estimate) -> str:
    """A share in %, with its interval."""
    return f"{100 * one.mean:.1f} ± {100 * one.ci95:.1f} %"


def auroc(one: Tensor, other: Tensor) -> float:
    """The probability that a value of `one` (n,) is above one of `other` (m,), and half of it where they are equal."""
    above = (one[:, None] > other).double() + 0.5 * (one[:, None] == other).double()
    return float(above.mean())


def spearman(a: Tensor, b: Tensor) -> float:
    """The correlation of the ranks of two (n,), equal values having the mean of theirs; 0 where one never changes."""
    ranks = torch.stack([_ranks(a), _ranks(b)])
    if float(ranks.std(1).amin()) == 0:
        return 0.0
    return float(torch.corrcoef(ranks)[0, 1])


def _ranks(values: Tensor) -> Tensor:
    ordered = values.sort().values
    first, last = (torch.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (first + last + 1).double() / 2


def bins(p: Tensor, y: Tensor) -> Tensor:
    """(BINS, 3) of probabilities (q, N) and labels (q,): the sum of the largest probability of the inputs in each bin,
    how many of them are right, and how many there are."""
    top, chosen = p.max(1)
    at = (top * BINS).long().clamp(max=BINS - 1)
    rows = torch.stack([top, (chosen == y).to(top.dtype), torch.ones_like(top)], 1)
    return torch.zeros((BINS, 3), dtype=top.dtype).index_add(0, at, rows)


def calibration_error(sums: Tensor) -> float:
    """How far the share that is right is from the mean probability, in the mean over inputs by their bins; of sums
    (T, BINS, 3) of T tasks."""
    sure, right, count = sums.sum(0).T
    return float((sure - right).abs().sum() / count.sum())


def resampled(figure: Callable[[Tensor], float], count: int) -> Estimate:
    """A figure of all tasks, with the interval of 1.96 times its spread over tasks drawn with replacement."""
    drawn = rng.integers(rng.key(0, "resampled"), count, (_DRAWS, count))
    values = torch.tensor([figure(rows) for rows in drawn], dtype=torch.float64)
    return Estimate(figure(torch.arange(count)), 1.96 * float(values.std()), count)

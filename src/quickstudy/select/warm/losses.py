"""Losses of one task in units that tasks share."""

from __future__ import annotations

from typing import Literal

import numpy as np

from quickstudy.select.warm.numerics import by_rank, normal_scores
from quickstudy.space import Array

Scale = Literal["plain", "bent", "ranks"]
"""`plain`: less the mean, in deviations. `bent`: what is worse than the median counts less and less. `ranks`: normal
scores of the ranks (the Gaussian copula of Salinas et al. 2020)."""
_ROUNDING = 1e-12
"""Differences that are none, as a share of the size of losses."""


def in_units(losses: Array, scale: Scale) -> Array:
    """Losses (n, …) along the first axis with the mean 0 and the deviation 1; 0 where all are the same to rounding.
    Neither the unit of the losses nor their zero counts."""
    y = losses
    if scale == "ranks":
        y = normal_scores(y)
    elif scale == "bent":
        y = bent(y, *bend(y))
    size = np.abs(y).max(axis=0, initial=0.0)
    y = y - y.mean(axis=0)
    deviation = y.std(axis=0)
    told = deviation > _ROUNDING * size
    return np.where(told, y / np.where(told, deviation, 1.0), 0.0)


def bend(losses: Array) -> tuple[Array, Array]:
    """Where losses (n, …) begin to count less, and in units of what: the median along the first axis, and how far the
    best lies below it. What is worse has no say in that, so that one trial that diverged hides no other; only where
    half of all are the best it is the least that any other lies above."""
    middle = np.median(losses, axis=0)
    spread = middle - losses.min(axis=0)
    least = _ROUNDING * np.maximum(np.abs(middle), np.abs(losses.min(axis=0)))
    over = np.where(losses - middle > least, losses - middle, np.inf).min(axis=0)
    return middle, np.where(spread > least, spread, np.where(np.isfinite(over), over, 1.0))


def bent(losses: Array, middle: Array | float, spread: Array | float) -> Array:
    """Losses above `middle` in logarithms, others as they are, less `middle`."""
    above = losses - middle
    return np.asarray(np.minimum(above, 0.0) + spread * np.log1p(np.maximum(above, 0.0) / spread))


def normalised(losses: Array) -> Array:
    """Regret (n, …) along the first axis, 0 for the least loss and 1 for the greatest."""
    low, span = losses.min(axis=0), np.ptp(losses, axis=0)
    return np.asarray((losses - low) / np.where(span > 0, span, 1.0))


def emphasised(losses: Array, tail: float = 0.006) -> Array:
    """How well each of n trials is liked, by losses (n,): −log(1 + tail · n + rank), the least loss having rank 0, with
    mean 0 and deviation 1; equal losses have the mean of what their ranks have. The differences that count in a search
    are among the best, whatever the units of the loss.
    """
    terms = -np.log(1.0 + tail * len(losses) + np.arange(len(losses)))
    return in_units(by_rank(losses, terms), "plain")

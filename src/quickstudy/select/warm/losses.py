"""Losses of one task in units that tasks share."""

from __future__ import annotations

from typing import Literal

import numpy as np

from quickstudy.select.warm.numerics import normal_scores
from quickstudy.space import Array

Scale = Literal["plain", "bent", "ranks"]
"""`plain`: less the mean, in deviations. `bent`: what is worse than the median counts less and less. `ranks`: normal
scores of the ranks (the Gaussian copula of Salinas et al. 2020)."""


def in_units(losses: Array, scale: Scale) -> Array:
    """Losses (n, …) along the first axis with the mean 0 and the deviation 1; 0 where all are the same."""
    y = losses
    if scale == "ranks":
        y = normal_scores(y)
    elif scale == "bent":
        middle = np.median(y, axis=0)
        spread = np.maximum(middle - y.min(axis=0), 1e-3 * np.ptp(y, axis=0))
        spread = np.where(spread > 0, spread, 1.0)
        over = np.maximum(y - middle, 0.0)
        y = np.minimum(y, middle) + spread * np.log1p(over / spread)
    y = y - y.mean(axis=0)
    deviation = y.std(axis=0)
    return np.asarray(y / np.where(deviation > 1e-12 * (1 + np.abs(losses).max(initial=0.0)), deviation, 1.0))


def normalised(losses: Array) -> Array:
    """Regret (n, …) along the first axis, 0 for the least loss and 1 for the greatest."""
    low, span = losses.min(axis=0), np.ptp(losses, axis=0)
    return np.asarray((losses - low) / np.where(span > 0, span, 1.0))


def emphasised(losses: Array, tail: float = 0.006) -> Array:
    """How well each of n trials is liked, by losses (n,): −log(1 + tail · n + rank), the least loss having rank 0, with
    mean 0 and deviation 1. The differences that count in a search are among the best, whatever the units of the loss.
    """
    rank = np.argsort(np.argsort(losses, kind="stable"), kind="stable")
    return in_units(-np.log(1.0 + tail * len(losses) + rank), "plain")

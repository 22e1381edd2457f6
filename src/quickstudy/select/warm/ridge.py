"""Ridge regression on descriptions of points, and the units in which these are comparable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quickstudy.space import Array


@dataclass(frozen=True)
class Units:
    """Columns less their mean, in units of their deviation, rows of mean square 1; constant columns go. All of this as
    it was for the descriptions (n, D) that the units are of."""

    kept: NDArray[np.bool_]
    middle: Array
    spread: Array

    @classmethod
    def of(cls, x: Array) -> Self:
        kept = x.max(0) > x.min(0)
        return cls(kept, x[:, kept].mean(0), x[:, kept].std(0))

    def __call__(self, x: Array) -> Array:
        """(m, columns kept) of (m, D); one column of zeros where none is."""
        if not self.kept.any():
            return np.zeros((len(x), 1))
        return np.asarray((x[:, self.kept] - self.middle) / self.spread / np.sqrt(self.kept.sum()))


def like_units(x: Array) -> Array:
    """Descriptions (n, D) in their own units."""
    return Units.of(x)(x)


def smoothed(x: Array, y: Array, ridge: float = 10.0, at: Array | None = None) -> Array:
    """What a ridge regression of y (n, K) on x (n, D) says at the rows of `at` (m, D), or of x: y without what no
    description explains, (m, K)."""
    inside, middle = x - x.mean(0), y.mean(0)
    weights = np.linalg.solve(inside.T @ inside + ridge * np.eye(x.shape[1]), inside.T @ (y - middle))
    return np.asarray(middle + ((x if at is None else at) - x.mean(0)) @ weights)

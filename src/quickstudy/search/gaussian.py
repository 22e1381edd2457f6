"""Gaussian processes (Rasmussen & Williams 2006) over descriptions of points, with prior means from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quickstudy.space import Array


@dataclass(frozen=True)
class Kernel:
    """linear · a·b + curved · exp(−|a − b|² / 2 scale²), over rows of `like_units`; noise: added variance."""

    linear: float = 1.0
    curved: float = 0.3
    scale: float = 1.0
    noise: float = 0.1

    def __call__(self, a: Array, b: Array) -> Array:
        """(n, m), of a (n, D) and b (m, D)."""
        inner = a @ b.T
        if not self.curved:
            return np.asarray(self.linear * inner)
        apart = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * inner
        return np.asarray(self.linear * inner + self.curved * np.exp(-np.maximum(apart, 0.0) / (2 * self.scale**2)))

    def diagonal(self, a: Array) -> Array:
        """(n,), of each row with itself."""
        return np.asarray(self.linear * (a * a).sum(1) + self.curved)

    def posterior(self, x: Array, y: Array, at: Array) -> tuple[Array, Array]:
        """Mean and variance (m,) at `at` (m, D), of y (n,) seen at x (n, D) with mean zero."""
        across = self(x, at)
        inside = self(x, x) + self.noise * np.eye(len(x))
        half = np.linalg.solve(np.linalg.cholesky(inside), np.column_stack([y, across]))
        return half[:, 0] @ half[:, 1:], np.maximum(self.diagonal(at) - (half[:, 1:] ** 2).sum(0), 0.0)

    def mean(self, x: Array, y: Array, at: Array) -> Array:
        """The mean of `posterior` alone, which is cheaper."""
        weights = np.linalg.solve(self(x, x) + self.noise * np.eye(len(x)), y)
        return np.asarray(weights @ self(x, at) if self.curved else at @ (self.linear * (weights @ x)))


def like_units(x: Array) -> Array:
    """Columns (n, D) less their mean, in units of their deviation, rows of mean square 1; constant columns go."""
    x = x[:, x.max(0) > x.min(0)]
    if not x.shape[1]:
        return np.zeros((len(x), 1))
    return np.asarray((x - x.mean(0)) / x.std(0) / np.sqrt(x.shape[1]))


def emphasised(scores: Array, tail: float = 0.006) -> Array:
    """−log(1 + tail · n + rank), the best having rank 0, with mean 0 and deviation 1: the differences that count in a
    search are among the best, whatever the units of the score. scores: (n,), the higher the better."""
    rank = np.argsort(np.argsort(-scores, kind="stable"), kind="stable")
    return standard(-np.log(1.0 + tail * len(scores) + rank))


def standard(values: Array) -> Array:
    """Mean 0 and deviation 1; zeros where all are equal."""
    spread = values.std()
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1.0))


def smoothed(x: Array, y: Array, ridge: float = 10.0, at: Array | None = None) -> Array:
    """What a ridge regression of y (n, K) on x (n, D) says at the rows of `at` (m, D), or of x: y without what no
    description explains, (m, K)."""
    inside, middle = x - x.mean(0), y.mean(0)
    weights = np.linalg.solve(inside.T @ inside + ridge * np.eye(x.shape[1]), inside.T @ (y - middle))
    return np.asarray(middle + ((x if at is None else at) - x.mean(0)) @ weights)

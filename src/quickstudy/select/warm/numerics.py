"""What Gaussian processes take from SciPy, which is imported when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from quickstudy.errors import MissingExtra
from quickstudy.space import Array


def scipy() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        import scipy.linalg
        import scipy.optimize
        import scipy.special
    except ImportError as error:
        raise MissingExtra("scipy", "select", "A Gaussian process") from error
    return scipy.linalg, scipy.optimize, scipy.special


def cholesky(k: Array) -> Array:
    """The lower triangle L with L Lᵀ = k."""
    return np.asarray(scipy()[0].cholesky(k, lower=True))


def solved(factor: Array, y: Array) -> Array:
    """k⁻¹ y for the k that `factor` is of."""
    return np.asarray(scipy()[0].cho_solve((factor, True), y))


def half_solved(factor: Array, y: Array) -> Array:
    """L⁻¹ y for the factor L."""
    return np.asarray(scipy()[0].solve_triangular(factor, y, lower=True))


def minimum(
    value: Callable[[Array], tuple[float, Array]], start: Array, bounds: Sequence[tuple[float, float]], steps: int
) -> Array:
    """Where L-BFGS within bounds ends; `value` gives the gradient, too."""
    found = scipy()[1].minimize(value, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": steps})
    return np.asarray(found.x)


def normal_cdf(z: Array) -> Array:
    return np.asarray(scipy()[2].ndtr(z))


def normal_scores(y: Array) -> Array:
    """The normal quantiles of the ranks (n, …) along the first axis; equal ones share the mean of theirs."""
    found = scipy()[2].ndtri((np.arange(len(y)) + 0.5) / len(y))
    scores = np.empty(y.shape)
    for column in np.ndindex(y.shape[1:]):
        scores[:, *column] = by_rank(y[:, *column], found)
    return scores


def by_rank(y: Array, terms: Array) -> Array:
    """Of y (n,) the least has the first of n terms, and so on; equal ones share the mean of theirs."""
    _, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    sums = np.concatenate([[0.0], np.cumsum(terms)])
    means = np.where(counts == 1, terms[ends - 1], (sums[ends] - sums[ends - counts]) / counts)
    return np.asarray(means[which])

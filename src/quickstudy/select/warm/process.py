"""Gaussian processes, exact, in numpy (Rasmussen & Williams 2006, chapters 2 and 5).

Several outputs share one kernel, so that many tasks tried at the same points cost one factorisation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from quickstudy.select.warm.numerics import cholesky, half_solved, minimum, solved
from quickstudy.space import Array

_LEAST_NOISE = 1e-6
_BOUNDS = ((math.log(0.02), math.log(50.0)), (math.log(1e-3), math.log(1e2)), (math.log(_LEAST_NOISE), 0.0))
_BASIS_BOUND = (math.log(1e-4), math.log(1e2))


class Data(NamedTuple):
    """Points x (n, D), values y (n, T) of T outputs, and a basis (n, F) of known functions at the points, if any."""

    x: Array
    y: Array
    basis: Array | None = None


class Covariance(Protocol):
    """What a process needs of a kernel: values between points, with the noise apart."""

    @property
    def noise(self) -> float: ...

    def __call__(self, a: Array, b: Array, basis_a: Any = None, basis_b: Any = None) -> Array: ...

    def diagonal(self, a: Array, basis: Any = None) -> Array: ...


@dataclass(frozen=True)
class Kernel:
    """Matérn 5/2 with a lengthscale for each column, and noise. weight: of the known functions of a basis.

    k(a, b) = variance · m(|(a − b) / scales|) + weight · basis(a) · basis(b), m(r) = (1 + √5 r + 5 r² / 3) exp(−√5 r).
    """

    scales: Array
    variance: float
    noise: float
    weight: float = 0.0

    def __call__(self, a: Array, b: Array, basis_a: Array | None = None, basis_b: Array | None = None) -> Array:
        """(n, m), without the noise."""
        k = self.variance * _matern(_distances(a / self.scales, b / self.scales))
        return k if basis_a is None or basis_b is None else np.asarray(k + self.weight * (basis_a @ basis_b.T))

    def diagonal(self, a: Array, basis: Array | None = None) -> Array:
        """(n,), of each point with itself."""
        return self.variance + (np.zeros(len(a)) if basis is None else self.weight * (basis * basis).sum(1))


@dataclass(frozen=True)
class LinearKernel:
    """linear · a·b + curved · exp(−|a − b|² / 2 scale²), with parameters that are given; it takes no basis."""

    linear: float = 1.0
    curved: float = 0.3
    scale: float = 1.0
    noise: float = 0.1

    def __call__(self, a: Array, b: Array, basis_a: None = None, basis_b: None = None) -> Array:
        """(n, m), without the noise."""
        found = self.linear * (a @ b.T)
        if self.curved:
            found = found + self.curved * np.exp(-(_distances(a, b) ** 2) / (2 * self.scale**2))
        return np.asarray(found)

    def diagonal(self, a: Array, basis: None = None) -> Array:
        return np.asarray(self.linear * (a * a).sum(1) + self.curved)


def _distances(a: Array, b: Array) -> Array:
    square = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def _matern(r: Array) -> Array:
    root = math.sqrt(5) * r
    return np.asarray((1 + root + root * root / 3) * np.exp(-root))


class Prior(NamedTuple):
    """Normal priors of the logarithms of a kernel's scales, variance, noise and, with a basis, weight: centre and width
    (D + 2,) or (D + 3,)."""

    centre: Array
    width: Array

    @classmethod
    def vague(cls, columns: int, based: bool = False) -> Self:
        """Of functions with variance 1: lengthscales grow with the number of columns (Hvarfner et al. 2024)."""
        centre = [-0.5 + 0.5 * math.log(columns)] * columns + [0.0, -7.0] + [0.0] * based
        return cls(np.array(centre), np.array([1.0] * columns + [1.0, 2.0] + [1.5] * based))

    @classmethod
    def around(cls, kernel: Kernel, width: float, based: bool = False) -> Self:
        """Near another kernel."""
        rest = [kernel.variance, kernel.noise] + [max(kernel.weight, 1e-4)] * based
        centre = np.log(np.concatenate([kernel.scales, rest]))
        return cls(centre, np.full(len(centre), width))


def negative_evidence(log: Array, data: Sequence[Data], prior: Prior) -> tuple[float, Array]:
    """−log p(y, θ), summed over data and their outputs, and its gradient; log: (D + 2,) or (D + 3,) with a basis.

    log holds the logarithms of scales, variance, noise and weight.
    """
    columns = data[0].x.shape[1]
    kernel = _kernel(log, columns)
    off = (log - prior.centre) / prior.width
    value, slope = 0.5 * float(off @ off), off / prior.width
    for x, y, basis in data:
        apart = (x[:, None, :] - x[None, :, :]) ** 2 / kernel.scales**2
        r = np.sqrt(apart.sum(2))
        root = math.sqrt(5) * r
        decay = kernel.variance * np.exp(-root)
        smooth = decay * (1 + root + root * root / 3)
        known = 0.0 if basis is None else kernel.weight * (basis @ basis.T)
        factor = cholesky(smooth + known + (kernel.noise + 1e-9) * np.eye(len(x)))
        alpha = solved(factor, y)
        outputs = y.shape[1]
        value += 0.5 * float((y * alpha).sum()) + outputs * float(np.log(np.diag(factor)).sum())
        outer = outputs * solved(factor, np.eye(len(x))) - alpha @ alpha.T
        slope[:columns] += 0.5 * np.einsum("ij,ijd->d", outer * decay * (5 / 3) * (1 + root), apart)
        slope[columns] += 0.5 * float((outer * smooth).sum())
        slope[columns + 1] += 0.5 * kernel.noise * float(np.trace(outer))
        if basis is not None:
            slope[columns + 2] += 0.5 * float((outer * known).sum())
    return value, slope


def _kernel(log: Array, columns: int) -> Kernel:
    return Kernel(
        np.exp(log[:columns]), math.exp(log[columns]), math.exp(log[columns + 1]),
        math.exp(log[columns + 2]) if len(log) > columns + 2 else 0.0,
    )  # fmt: skip


def fit_kernel(data: Sequence[Data], prior: Prior | None = None, steps: int = 30) -> Kernel:
    """The kernel with the greatest posterior density, by L-BFGS from the prior's centre. Where no prior is given,
    outputs should have the mean 0 and a variance near 1."""
    columns, based = data[0].x.shape[1], data[0].basis is not None
    given = prior or Prior.vague(columns, based)
    bounds = [_BOUNDS[0]] * columns + [*_BOUNDS[1:], _BASIS_BOUND][: 3 if based else 2]
    start = np.clip(given.centre, [low for low, _ in bounds], [high for _, high in bounds])
    found = minimum(lambda log: negative_evidence(log, data, given), start, bounds, steps)
    return _kernel(found, columns)


@dataclass(frozen=True)
class Process:
    """What is known of functions after their values at some points."""

    kernel: Covariance
    data: Data
    factor: Array
    alpha: Array

    @classmethod
    def of(cls, kernel: Covariance, data: Data) -> Process:
        k = kernel(data.x, data.x, data.basis, data.basis)
        factor = cholesky(k + (kernel.noise + 1e-9) * np.eye(len(data.x)))
        return cls(kernel, data, factor, solved(factor, data.y))

    def mean(self, x: Array, basis: Array | None = None) -> Array:
        """(m, T)."""
        return self.kernel(x, self.data.x, basis, self.data.basis) @ self.alpha

    def predict(self, x: Array, basis: Array | None = None) -> tuple[Array, Array]:
        """Mean (m, T), and the standard deviation (m,) that all outputs share, without the noise."""
        k = self.kernel(x, self.data.x, basis, self.data.basis)
        spent = (half_solved(self.factor, k.T) ** 2).sum(0)
        return k @ self.alpha, np.sqrt(np.maximum(self.kernel.diagonal(x, basis) - spent, 1e-12))

    def covariance(self, x: Array) -> Array:
        """(m, m), without the noise."""
        k = half_solved(self.factor, self.kernel(self.data.x, x))
        return np.asarray(self.kernel(x, x) - k.T @ k)

    def left_out(self) -> tuple[Array, Array]:
        """Mean (n, T) and standard deviation (n,) at each point, from all others (section 5.4.2)."""
        inverse = np.diag(solved(self.factor, np.eye(len(self.data.x))))
        return self.data.y - self.alpha / inverse[:, None], np.sqrt(1 / inverse)

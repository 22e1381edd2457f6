"""Regression tasks: functions drawn from a Gaussian process, of which the exact posterior is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, leaves
from quickstudy.errors import ConfigError, unknown_name
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.made_up import FunctionSource

Kernel = Literal["rbf", "matern12", "matern32", "matern52", "periodic"]
_POINTS, _VALUES, _SIZES, _HYPER = range(4)
_SAMPLING = Sampling(ways=1, shots=10, queries=10)
_JITTER = 1e-6  # of the diagonal, beside the noise


def covariance(kernel: Kernel, a: Tensor, b: Tensor, lengthscale: Tensor) -> Tensor:
    """k(a_i, b_j) (…, n, m) of variance 1 for points a (…, n, D), b (…, m, D); lengthscale (…,).

    Rasmussen & Williams 2006, chapter 4. The periodic kernel has period 1 in the units of x, in every direction.
    """
    scale = lengthscale[..., None, None]
    if kernel == "periodic":
        apart = torch.sin(math.pi * (a[..., :, None, :] - b[..., None, :, :])).square().sum(-1)
        return torch.exp(-2 * apart / scale.square())
    r = (a[..., :, None, :] - b[..., None, :, :]).square().sum(-1).clamp(min=1e-12).sqrt() / scale
    if kernel == "rbf":
        return torch.exp(-0.5 * r.square())
    if kernel == "matern12":
        return torch.exp(-r)
    r = r * math.sqrt(3 if kernel == "matern32" else 5)
    return (1 + r + (r.square() / 3 if kernel == "matern52" else 0)) * torch.exp(-r)


@dataclass(frozen=True, kw_only=True)
class GaussianProcessSource(FunctionSource):
    """Tasks y = f(x) + ε with f ~ GP(0, k), ε ~ N(0, noise²), x uniform in [-reach, reach]^D. All splits are alike.

    Each task draws one of `kernels`, and its lengthscale from the interval `lengthscale`, evenly in the logarithm.
    """

    kernels: tuple[Kernel, ...]
    lengthscale: tuple[float, float]
    noise: float
    reach: float
    spec: TaskSpec
    sampling: Sampling = _SAMPLING

    def hyper(self, split: str, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The number of each task's kernel (T,) int64, and its lengthscale (T,)."""
        keys = rng.fold(self.keys(split, indices), _HYPER)
        low, high = (math.log(end) for end in self.lengthscale)
        kinds = rng.integers(rng.fold(keys, 1), len(self.kernels))
        return kinds, rng.uniform(keys, (), low, high).exp()

    def _covariance(self, kinds: Tensor, lengthscales: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """(T, n, m): each task by its own kernel."""
        by_kernel = [covariance(kernel, a, b, lengthscales) for kernel in self.kernels]
        return torch.stack(by_kernel, dim=1)[torch.arange(len(kinds), device=kinds.device), kinds]

    def episodes(self, split: str, indices: Tensor) -> Episode:
        keys, total = self.keys(split, indices), self.sampling.shots + self.sampling.queries
        x = rng.uniform(rng.fold(keys, _POINTS), (total, *self.spec.input_shape), -self.reach, self.reach)
        wide = x.double() if self.device.type != "mps" else x  # 64 bits, where there are any
        kinds, lengthscales = self.hyper(split, indices)
        k = self._covariance(kinds, lengthscales.to(wide), wide, wide)
        k = k + (self.noise**2 + _JITTER) * torch.eye(total, dtype=k.dtype, device=self.device)
        drawn = rng.normal(rng.fold(keys, _VALUES), (total, 1))
        y = (torch.linalg.cholesky(k) @ drawn.to(k.dtype)).to(x.dtype)
        return self.points(x, y, rng.fold(keys, _SIZES))

    def posterior(self, split: str, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (T, queries, 1) of the targets of these episodes' queries, noise included, given
        their support sets and the kernel: the best that can be predicted."""
        (support, query), (kinds, lengthscales) = self.episodes(split, indices), self.hyper(split, indices)
        known, scale = support.mask.double(), lengthscales.double()
        a, b = leaves(support.x)[0].double(), leaves(query.x)[0].double()
        noise = self.noise**2 + _JITTER
        inside = self._covariance(kinds, scale, a, a) * known[:, :, None] * known[:, None, :]
        inside = inside + noise * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
        across = self._covariance(kinds, scale, a, b) * known[:, :, None]
        factor = torch.linalg.cholesky(inside)
        weights = torch.cholesky_solve(across, factor)
        mean = weights.mT @ (support.y.double() * known[..., None])
        variance = 1 + noise - (weights * across).sum(1)
        return mean.to(support.y), variance.clamp(min=noise).sqrt()[..., None].to(support.y)


@sources.register("gp")
def gaussian_process(
    *,
    kernels: tuple[Kernel, ...] = ("rbf",),
    lengthscale: tuple[float, float] = (0.4, 0.4),
    noise: float = 0.1,
    reach: float = 2.0,
    dimensions: int = 1,
) -> GaussianProcessSource:
    """Regression: functions drawn from a Gaussian process, observed with noise.

    kernels: each task takes one of rbf, matern12, matern32, matern52, periodic. lengthscale: the least and the
    greatest. noise: its standard deviation; functions have standard deviation 1. reach: x lies in [-reach, reach].
    dimensions: how many numbers x has.
    """
    for kernel in kernels:
        if kernel not in get_args(Kernel):
            raise unknown_name("kernel", kernel, get_args(Kernel))
    if not kernels or dimensions < 1 or not noise >= 0 or not reach > 0:
        raise ConfigError(
            "Give at least one kernel and one dimension, a reach above 0 and a noise of 0 or more; found "
            f"{len(kernels)}, {dimensions}, {reach} and {noise}."
        )
    if not 0 < lengthscale[0] <= lengthscale[1]:
        raise ConfigError(f"lengthscale must be the least and the greatest, both above 0, found {lengthscale}.")
    return GaussianProcessSource(
        kernels=kernels,
        lengthscale=lengthscale,
        noise=noise,
        reach=reach,
        spec=TaskSpec(formats.make("array", shape=(dimensions,)), targets.make("numbers")),
    )

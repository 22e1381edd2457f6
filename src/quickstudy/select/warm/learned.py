"""Strategies that carry past tasks as functions: their mean as the prior of this one, and how they differed from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from quickstudy.registry import strategies
from quickstudy.select.warm.acquire import best_point, log_improvement
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.losses import Scale, bend
from quickstudy.select.warm.numerics import cholesky, half_solved
from quickstudy.select.warm.pool import Pool, leaders
from quickstudy.select.warm.portfolio import portfolio
from quickstudy.select.warm.process import Data, Kernel, Prior, Process, fit_kernel
from quickstudy.select.warm.processes import unseen
from quickstudy.select.warm.strategy import Strategy, Tried, untried
from quickstudy.select.warm.surfaces import Surfaces
from quickstudy.space import Array, Space, Values

_TASKS, _POINTS, _STEPS = 24, 60, 30
"""Past tasks, each held against the others, and points of each, that the kernel of a new task is fitted to."""
_FEW, _REFITTED = 3, 20
"""Trials after which the kernel is fitted to the new task as well, and in how many steps."""
_WIDTHS = np.linspace(-3.5, 3.5, 57)


class Knowledge(NamedTuple):
    """What past tasks say of a new one. surfaces: of T tasks. kernel: of how a new task differs from their mean.

    scale: mean and deviation of the logarithm of a task's deviation, in its own units. bend: the median of a past task
    and how far its best lies below it, in their units; losses above are bent.
    """

    surfaces: Surfaces
    kernel: Kernel
    scale: tuple[float, float]
    bend: tuple[float, float] | None
    first: list[Values]
    pool: Pool


def known(values: Array, covariance: bool) -> tuple[Array, Array | None]:
    """The mean (m,) of past tasks' values (m, T), and a basis (m, T) whose inner products are their covariance."""
    mean = values.mean(axis=1)
    return mean, (values - mean[:, None]) / math.sqrt(values.shape[1]) if covariance else None


def learn(space: Space, experience: Experience, scale: Scale, covariance: bool, start: int, seed: int) -> Knowledge:
    """Surfaces of past tasks, and the kernel under which each of them is likely given the others."""
    rng = np.random.default_rng([seed, 0x5EED])
    surfaces = Surfaces.of(experience, scale, seed)
    past = len(surfaces.tasks)
    data, deviations, medians, spreads, at = [], [], [], [], 0
    chosen = set(rng.permutation(past)[:_TASKS].tolist())
    for group, process in zip(surfaces.groups, surfaces.processes, strict=True):
        for column in range(group.losses.shape[1]):
            raw, units = group.losses[:, column], process.data.y[:, column]
            deviations += _slope(raw, units)
            middle, below = bend(units)
            medians.append(float(middle))
            spreads.append(float(below))
            if at in chosen and past > 1:
                rows = rng.permutation(len(raw))[:_POINTS]
                others = np.delete(surfaces.values(process.data.x[rows]), at, axis=1)
                mean, basis = known(others, covariance)
                data.append(Data(process.data.x[rows], (units[rows] - mean)[:, None], basis))
            at += 1
    kernel = fit_kernel(data, steps=_STEPS) if data else surfaces.kernel
    logs = np.log(deviations or [1.0])
    spread = float(np.sqrt(logs.var() + 0.25))
    bends = (float(np.mean(medians)), float(np.mean(spreads))) if scale == "bent" else None
    pool = Pool.of(space, seed, also=leaders(experience, space), known=surfaces.values)
    first = portfolio(experience, start, space) if start else []
    return Knowledge(surfaces, kernel, (float(logs.mean()), spread), bends, first, pool)


def _slope(raw: Array, units: Array) -> list[float]:
    """How much raw loss one unit is, among the better half, or among all where that is flat; nothing if all are."""
    better = np.argsort(raw, kind="stable")[: max(2, len(raw) // 2)]
    for one, other in ((raw[better], units[better]), (raw, units)):
        if np.ptp(one) > 0 and np.ptp(other) > 0:
            return [float(np.ptp(one) / np.ptp(other))]
    return []


def posterior(
    knowledge: Knowledge, x: Array, values: Array, losses: Array, covariance: bool, width: float
) -> tuple[Process, float]:
    """A process of how a task differs from the mean of past ones, in their units; and the least loss that it believes.

    Losses (n,) at x (n, D) are a + b f(x), f one of past tasks' kind: a is free, and b has the distribution that it had
    among past tasks. values: of past tasks at x (n, T). width: how far, in logarithms, the kernel may be from theirs.
    """
    (mean, basis), kernel = known(values, covariance), knowledge.kernel
    units = _units(knowledge, kernel, x, mean, basis, losses)
    if len(x) > _FEW:
        prior = Prior.around(kernel, width, covariance)
        kernel = fit_kernel([Data(x, (units - mean)[:, None], basis)], prior, _REFITTED)
        units = _units(knowledge, kernel, x, mean, basis, losses)
    process = Process.of(kernel, Data(x, (units - mean)[:, None], basis))
    return process, float((mean + process.mean(x, basis)[:, 0]).min())


def _units(knowledge: Knowledge, kernel: Kernel, x: Array, mean: Array, basis: Array | None, losses: Array) -> Array:
    """(losses − a) / b, bent where past tasks' are."""
    factor = cholesky(kernel(x, x, basis, basis) + (kernel.noise + 1e-8) * np.eye(len(x)))
    ones, line = half_solved(factor, np.ones(len(x))), half_solved(factor, mean)
    raw = losses
    for _ in range(3 if knowledge.bend else 1):
        b, a = _affine(half_solved(factor, raw), ones, line, len(x), knowledge.scale)
        units = losses / b - a
        if knowledge.bend:
            middle, spread = knowledge.bend
            units = np.minimum(units, middle) + spread * np.log1p(np.maximum(units - middle, 0.0) / spread)
            raw = (units + a) * b
    return np.asarray(units)


def _affine(losses: Array, ones: Array, line: Array, count: int, scale: tuple[float, float]) -> tuple[float, float]:
    """The b and a of the greatest density; all is whitened by the kernel."""
    logs = scale[0] + scale[1] * _WIDTHS
    b = np.exp(logs)
    off = losses[:, None] / b - line[:, None]
    a = (ones @ off) / (ones @ ones)
    rest = off - ones[:, None] * a
    values = (count - 1) * logs + 0.5 * (rest * rest).sum(0) + 0.5 * _WIDTHS**2
    at = int(values.argmin())
    return float(b[at]), float(a[at])


@dataclass(frozen=True, kw_only=True)
class _Learned(Strategy):
    """What the strategies share that carry past tasks as functions. covariance: whether their covariance is known
    beside their mean."""

    start: int = 3
    scale: Scale = "plain"
    width: float = 1.0

    covariance: ClassVar[bool]

    def prepare(self, space: Space, experience: Experience, seed: int) -> Knowledge:
        return learn(space, experience, self.scale, self.covariance, self.start, seed)

    def propose(self, prepared: Knowledge, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        if (first := unseen(prepared.first, self.start, tried)) is not None:
            return first
        if not tried.points:
            return untried(space, tried, rng)
        x = space.encode(tried.points)
        values = prepared.surfaces.values(x)
        after, best = posterior(prepared, x, values, tried.losses, self.covariance, self.width)

        def score(at: Array, values: Array | None) -> Array:
            mean, basis = known(prepared.surfaces.values(at) if values is None else values, self.covariance)
            rest, deviation = after.predict(at, basis)
            return log_improvement(mean + rest[:, 0], deviation, best)

        return best_point(score, prepared.pool, space, tried, rng)


@strategies.register("prior-mean", experienced=True)
class PriorMean(_Learned):
    """A Gaussian process of what differs from the mean of past tasks.

    start: points of the portfolio before it. scale: of losses, plain, bent or ranks. width: how
    far, in logarithms, this task's kernel may be from that of past ones.
    """

    covariance = False


@strategies.register("surfaces", experienced=True)
class PastSurfaces(_Learned):
    """A Gaussian process with the mean and the covariance of past tasks, and how a new one differs from all of them,
    learned from them (as HyperBO, Wang et al. 2024, which learns a kernel's parameters alone).

    start: points of the portfolio before it. scale: of losses, plain, bent or ranks. width: how
    far, in logarithms, this task's kernel may be from that of past ones.
    """

    covariance = True

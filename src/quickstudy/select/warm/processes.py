"""Strategies without a model of past tasks: a Gaussian process of this one, a portfolio, and both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from quickstudy.registry import strategies
from quickstudy.select.warm.acquire import best_point, log_improvement
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.losses import Scale, in_units
from quickstudy.select.warm.pool import Pool
from quickstudy.select.warm.portfolio import portfolio
from quickstudy.select.warm.process import Data, Process, fit_kernel
from quickstudy.select.warm.strategy import Strategy, Tried, untried
from quickstudy.space import Array, Space, Values, key

LONGEST = 100
"""Points that a portfolio is made of at most, where it is all that a search does."""


class Prepared(NamedTuple):
    """The points that come first, and the candidates of those that follow."""

    first: list[Values]
    pool: Pool


def improved(pool: Pool, space: Space, tried: Tried, scale: Scale, rng: np.random.Generator) -> Values:
    """The point of greatest expected improvement under a Gaussian process of what was tried."""
    x, y = space.encode(tried.points), in_units(tried.losses, scale)[:, None]
    data = Data(x, y)
    process = Process.of(fit_kernel([data]), data)
    best = float(process.mean(x).min())

    def score(at: Array, _: Array | None) -> Array:
        mean, deviation = process.predict(at)
        return log_improvement(mean[:, 0], deviation, best)

    return best_point(score, pool, space, tried, rng)


@strategies.register("gp")
@dataclass(frozen=True, kw_only=True)
class GaussianProcess(Strategy):
    """Expected improvement under a Gaussian process, after random points (Snoek et al. 2012); looks at no past task.

    start: random points before it. scale: of losses, plain, bent or ranks.
    """

    start: int = 5
    scale: Scale = "bent"

    def prepare(self, space: Space, experience: Experience, seed: int) -> Pool:
        return Pool.of(space, seed)

    def propose(self, prepared: Pool, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        if len(tried.points) < max(self.start, 2) or np.ptp(tried.losses) == 0:
            return untried(space, tried, rng)
        return improved(prepared, space, tried, self.scale, rng)


@strategies.register("portfolio", experienced=True)
@dataclass(frozen=True, kw_only=True)
class Portfolio(Strategy):
    """The points that together were best on past tasks, one after another; what was learned here is not looked at.

    scale: of losses, for the Gaussian process that goes on after a hundred points.
    """

    scale: Scale = "bent"

    def prepare(self, space: Space, experience: Experience, seed: int) -> Prepared:
        return Prepared(portfolio(experience, LONGEST, space), Pool.of(space, seed))

    def propose(self, prepared: Prepared, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        if (first := unseen(prepared.first, LONGEST, tried)) is not None:
            return first
        return GaussianProcess(scale=self.scale).propose(prepared.pool, space, tried, rng)


@strategies.register("portfolio-gp", experienced=True)
@dataclass(frozen=True, kw_only=True)
class PortfolioProcess(Strategy):
    """A few points of the portfolio, and then the Gaussian process.

    start: points of the portfolio. scale: of losses, plain, bent or ranks.
    """

    start: int = 5
    scale: Scale = "bent"

    def prepare(self, space: Space, experience: Experience, seed: int) -> Prepared:
        return Prepared(portfolio(experience, max(self.start, 1), space), Pool.of(space, seed))

    def propose(self, prepared: Prepared, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        if (first := unseen(prepared.first, self.start, tried)) is not None:
            return first
        return GaussianProcess(start=0, scale=self.scale).propose(prepared.pool, space, tried, rng)


def unseen(points: list[Values], start: int, tried: Tried) -> Values | None:
    """The first of `start` points that was not tried, while fewer than that were tried at all."""
    known = tried.keys
    if len(tried.points) >= start:
        return None
    return next((point for point in points if key(point) not in known), None)

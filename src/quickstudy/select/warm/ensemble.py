"""An ensemble of processes: those of past tasks and this one's, weighted by how well they rank what was tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from quickstudy.registry import strategies
from quickstudy.select.warm.acquire import best_point, log_improvement
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.losses import Scale, in_units
from quickstudy.select.warm.numerics import cholesky
from quickstudy.select.warm.pool import Pool
from quickstudy.select.warm.portfolio import portfolio
from quickstudy.select.warm.process import Data, Process, fit_kernel
from quickstudy.select.warm.processes import unseen
from quickstudy.select.warm.strategy import Strategy, Tried, untried
from quickstudy.select.warm.surfaces import Surfaces
from quickstudy.space import Array, Space, Values


class Members(NamedTuple):
    """Processes of past tasks, what comes first, and candidates."""

    surfaces: Surfaces
    first: list[Values]
    pool: Pool


def misranked(drawn: Array, losses: Array) -> Array:
    """How many pairs are in the wrong order, (S,): drawn (S, n) or (S, n, n), where row i is without losses[i]."""
    ahead = losses[:, None] < losses[None, :]
    if drawn.ndim == 2:
        said = drawn[:, :, None] < drawn[:, None, :]
    else:
        said = np.diagonal(drawn, axis1=1, axis2=2)[:, :, None] < drawn
    return np.asarray((said != ahead).sum(axis=(1, 2)))


def weights(members: Array, target: Array) -> Array:
    """How often each is the best of all (T + 1,), the task's own last: misranked pairs (S, T) and (S,).

    Past tasks whose median is above the 95th percentile of the own one are left out, as in Feurer et al. 2018, so that
    many poor ones do not dilute the weights. Ties go to the task's own, and are shared among past tasks.
    """
    members = np.where(np.median(members, axis=0) > np.quantile(target, 0.95), np.iinfo(np.int64).max, members)
    every = np.concatenate([members, target[:, None]], axis=1)
    best = (every == every.min(axis=1, keepdims=True)).astype(np.float64)
    best[best[:, -1] > 0, :-1] = 0.0
    return np.asarray((best / best.sum(axis=1, keepdims=True)).mean(axis=0))


@strategies.register("rgpe", experienced=True)
@dataclass(frozen=True, kw_only=True)
class RankingEnsemble(Strategy):
    """Ranking-weighted ensemble of Gaussian processes, one of each past task (RGPE, Feurer et al. 2018).

    start: points of the portfolio before it. scale: of losses, plain, bent or ranks. samples: by which it is estimated
    how well each ranks.
    """

    start: int = 3
    scale: Scale = "bent"
    samples: int = 64

    def prepare(self, space: Space, experience: Experience, seed: int) -> Members:
        surfaces = Surfaces.of(experience, self.scale, seed)
        return Members(
            surfaces, portfolio(experience, max(self.start, 1), space), Pool.of(space, seed, known=surfaces.both)
        )  # fmt: skip

    def propose(self, prepared: Members, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        if (first := unseen(prepared.first, max(self.start, 2), tried)) is not None:
            return first
        if len(tried.points) < 3 or np.ptp(tried.losses) == 0:
            return untried(space, tried, rng)
        x, y = space.encode(tried.points), in_units(tried.losses, self.scale)[:, None]
        own = Process.of(fit_kernel([Data(x, y)]), Data(x, y))
        shares = weights(*self._misranked(prepared.surfaces, own, x, tried.losses, rng))
        used = shares[:-1] > 0

        def mixed(at: Array, known: Array | None) -> tuple[Array, Array]:
            mean, deviation = own.predict(at)
            said = prepared.surfaces.both(at) if known is None else known
            half = said.shape[1] // 2
            means, spreads = said[:, :half][:, used], said[:, half:][:, used]
            variance = shares[-1] ** 2 * deviation**2 + (spreads**2) @ (shares[:-1][used] ** 2)
            return shares[-1] * mean[:, 0] + means @ shares[:-1][used], np.sqrt(variance)

        best = float(mixed(x, None)[0].min())
        return best_point(lambda at, known: log_improvement(*mixed(at, known), best), prepared.pool, space, tried, rng)

    def _misranked(
        self, surfaces: Surfaces, own: Process, x: Array, losses: Array, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Misranked pairs of each past task (S, T), and of the task's own process (S,), each point left out in turn."""
        found = []
        for process in surfaces.processes:
            root = cholesky(process.covariance(x) + 1e-6 * np.eye(len(x)))
            for mean in process.mean(x).T:
                drawn = mean + rng.standard_normal((self.samples, len(x))) @ root.T
                found.append(misranked(drawn, losses))
        mean, deviation = own.left_out()
        drawn = np.broadcast_to(own.data.y[:, 0], (self.samples, len(x), len(x))).copy()
        rows = np.arange(len(x))
        drawn[:, rows, rows] = mean[:, 0] + deviation * rng.standard_normal((self.samples, len(x)))
        return np.stack(found, axis=1), misranked(drawn, losses)

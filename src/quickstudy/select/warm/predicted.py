"""Strategies that learn from their trials which candidates are good, the second from past tasks, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError
from quickstudy.hints import Count
from quickstudy.registry import strategies
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.likings import Level, Likings
from quickstudy.select.warm.losses import emphasised, in_units
from quickstudy.select.warm.pool import Pool, leaders
from quickstudy.select.warm.process import Data, LinearKernel, Process
from quickstudy.select.warm.strategy import Strategy, Tried
from quickstudy.space import LISTED, Array, Describe, Space, Values

_DRAWN = 2000
"""Candidates of a space that is too large to be listed."""


@strategies.register("predicted")
@dataclass(frozen=True, kw_only=True)
class Predicted(Strategy):
    """A Gaussian process on the points' descriptions says which candidate is best; looks at no past task.

    As BANANAS (White et al. 2021) does with an ensemble of networks. With curved=0 it is a ridge regression.

    start: trials by chance before it learns. emphasis: it regresses −log of the rank among the trials, by which the
    best count most; otherwise the loss itself. linear, curved, scale, noise: of the kernel. explore: share of trials
    by chance. optimism: deviations by which it may be better. thompson: a draw for each candidate instead, `optimism`
    deviations wide.
    """

    start: Count = 10
    emphasis: bool = True
    linear: float = 1.0
    curved: float = 0.3
    scale: float = 1.0
    noise: float = 0.1
    explore: float = 0.0
    optimism: float = 0.0
    thompson: bool = False

    def __post_init__(self) -> None:
        if not (self.noise > 0 and self.scale > 0 and min(self.linear, self.curved) >= 0 < self.linear + self.curved):
            raise ConfigError(
                f"{self} has no kernel. Give noise and scale above 0, and linear or curved, none below 0."
            )
        if not 0 <= self.explore <= 1:
            raise ConfigError(f"The share {self.explore} of trials by chance is not between 0 and 1. Correct it.")
        if self.thompson and not self.optimism:
            raise ConfigError("Draws that are 0 deviations wide are none. Give thompson an optimism, such as 1.")

    def prepare(self, space: Space, experience: Experience, seed: int) -> Any:
        return Pool.of(space, seed, count=_DRAWN, most=LISTED)

    def propose(self, prepared: Any, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        pool: Pool = prepared.widened(space, tried, rng)
        if len(tried.points) < max(self.start, 1) or rng.random() < self.explore:
            return pool.drawn(tried, rng)
        return promising(pool, self.regressed(*pool.different, pool.places(tried), tried.losses, rng), tried, rng)

    def regressed(
        self, rows: Array, which: NDArray[np.int64], tried: list[int], losses: Array, rng: np.random.Generator
    ) -> Array:
        """(n,), what a Gaussian process on descriptions makes of the trials, the higher the better. rows: (m, D);
        which: of them is each of n candidates'; tried: of candidates, k, with losses (k,)."""
        liked = emphasised(losses) if self.emphasis else in_units(-losses, "plain")
        kernel = LinearKernel(self.linear, self.curved, self.scale, self.noise)
        process = Process.of(kernel, Data(rows[which[tried]], liked[:, None]))
        if not self.optimism:
            return np.asarray(process.mean(rows)[which, 0])
        mean, deviation = process.predict(rows)
        wide = rng.standard_normal(len(which)) if self.thompson else 1.0
        return np.asarray(mean[which, 0] + self.optimism * deviation[which] * wide)


class Begun(NamedTuple):
    """Candidates, past tasks, what these say of the candidates, and the space as it is described for that."""

    pool: Pool
    experience: Experience
    likings: Likings
    rich: Space | None


@strategies.register("experienced", experienced=True)
@dataclass(frozen=True, kw_only=True)
class Experienced(Predicted):
    """Begins with what past tasks like, and after `start` trials weighs it by how far this task agrees.

    Until then the candidate that is expected to be liked most is tried. From then on the expectation is one more
    description of a candidate, a linear one with the variance `trust`, of the Gaussian process of `predicted`.

    level: how losses of a task give its level, as they are or, if they are shares, as log-odds. own: the share of a
    past trial that is believed where descriptions do not explain it; what past tasks agree about if not given. rich: a
    function from points to many numbers, which describes them for past tasks; the space's own description if not given.
    """

    level: Level = "plain"
    trust: float = 1.0
    own: float | None = None
    rich: Describe | None = None

    def prepare(self, space: Space, experience: Experience, seed: int) -> Begun:
        best = leaders(experience, space) if space.count > LISTED else []
        pool = Pool.of(space, seed, also=best, count=_DRAWN, most=LISTED)
        rich = None if self.rich is None else space.described(self.rich)
        return Begun(pool, experience, Likings.of(pool, experience, rich, self.own), rich)

    def propose(self, prepared: Begun, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        pool, likings = prepared.pool.widened(space, tried, rng), prepared.likings
        if pool is not prepared.pool:
            likings = Likings.of(pool, prepared.experience, prepared.rich, self.own)
        value = self.values(pool, likings, pool.places(tried), tried.losses, rng, tried.finished)
        return promising(pool, value, tried, rng)

    def values(
        self,
        pool: Pool,
        likings: Likings,
        tried: list[int],
        losses: Array,
        rng: np.random.Generator,
        finished: NDArray[np.bool_] | None = None,
    ) -> Array:
        """(n,), how promising each candidate is after `losses` (k,) of those `tried`. finished: (k,), which losses are
        the candidates' own, and tell of the task's level; all of them if not given."""
        known = np.flatnonzero(np.ones(len(tried), dtype=bool) if finished is None else finished)
        expected = likings.expected([tried[i] for i in known], losses[known], self.level)
        if len(tried) < self.start:
            return expected
        rows = np.column_stack([pool.units, np.sqrt(self.trust) * in_units(expected, "plain")])
        return self.regressed(rows, np.arange(len(rows)), tried, losses, rng)


def promising(pool: Pool, value: Array, tried: Tried, rng: np.random.Generator) -> Values:
    """The untried candidate with the highest value (n,); chance decides between equal ones (alike descriptions)."""
    fresh = pool.fresh(tried)
    value = value[fresh]
    return dict(pool.points[int(fresh[rng.choice(np.flatnonzero(value >= value.max() - 1e-9))])])

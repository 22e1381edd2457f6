"""Evolution: a strategy that learns no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quickstudy.hints import Size
from quickstudy.registry import strategies
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.pool import Pool
from quickstudy.select.warm.strategy import Strategy, Tried, untried
from quickstudy.space import LISTED, Space, Values, key

_CHANGES = 1000
"""Of a child that was tried before, until one is drawn in its place."""


@strategies.register("evolution")
@dataclass(frozen=True, kw_only=True)
class Evolution(Strategy):
    """Regularised evolution (Real et al. 2019): of a sample of the youngest the best gets a changed copy.

    It looks at no past task. A child that was tried before is changed again, so that no trial is spent twice.

    population: how many live; after them the oldest dies with each that is born. sample: how many compete to be the
    parent.
    """

    population: Size = 50
    sample: Size = 10

    def prepare(self, space: Space, experience: Experience, seed: int) -> Pool | None:
        return Pool.of(space, seed, most=LISTED) if space.count <= LISTED else None

    def propose(self, prepared: Pool | None, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        if len(tried.points) >= self.population and len(tried.keys) < space.count:
            young = np.arange(len(tried.points) - self.population, len(tried.points))
            rivals = rng.choice(young, min(self.sample, self.population), replace=False)
            point = tried.points[int(rivals[np.argmin(tried.losses[rivals])])]
            for _ in range(_CHANGES):
                point = space.near(point, rng)
                if key(point) not in tried.keys:
                    return point
        return untried(space, tried, rng) if prepared is None else prepared.drawn(tried, rng)

"""Strategies that learn no model: chance, and evolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quickstudy.hints import Size
from quickstudy.registry import proposers
from quickstudy.search.base import Known, Strategy
from quickstudy.space import Values, key


@proposers.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(Strategy):
    """Candidates by chance, each once."""

    def ask(self, known: Known, rng: np.random.Generator) -> Values:
        return known.drawn(rng)


@proposers.register("evolution")
@dataclass(frozen=True, kw_only=True)
class Evolution(Strategy):
    """Regularised evolution (Real et al. 2019): of a sample of the youngest the best gets a changed copy.

    population: how many live; after them the oldest dies with each that is born. sample: how many compete to be the
    parent. A child that was tried before is changed again, so that no trial is spent twice.
    """

    population: Size = 50
    sample: Size = 10

    def ask(self, known: Known, rng: np.random.Generator) -> Values:
        if len(known.tried) < self.population or len(known.fresh) == len(known.pool.points):
            return known.drawn(rng)
        young = np.arange(len(known.tried) - self.population, len(known.tried))
        rivals = rng.choice(young, min(self.sample, self.population), replace=False)
        point = known.pool.points[known.tried[int(rivals[np.argmax(known.scores[rivals])])]]
        tried = set(known.tried)
        for _ in range(1000):
            point = known.space.near(point, rng)
            place = known.pool.place.get(key(point))
            if place not in tried and (place is not None or not known.listed):
                return point
        return known.drawn(rng)

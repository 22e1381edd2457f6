"""Spaces that are a list of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from quickstudy.errors import ConfigError
from quickstudy.space.whole import Array, Space, Values, key


@dataclass(frozen=True)
class Points(Space):
    """Some points of a space, as of a table of what can be asked for: there is nothing between them."""

    listed: tuple[Values, ...] = ()

    @classmethod
    def of(cls, space: Space, points: Sequence[Values]) -> Self:
        """Raises ConfigError for a point that is none of the space, or for none at all."""
        if not points:
            raise ConfigError("A space of no points. List some.")
        for point in points:
            space.check(point)
        settled = {key(point): point for point in (space.settled(dict(one)) for one in points)}
        return cls(space.axes, space.conditions, space.describe, tuple(settled.values()))

    @property
    def count(self) -> float:
        return len(self.listed)

    def draw(self, count: int, rng: np.random.Generator) -> list[Values]:
        return [dict(self.listed[int(i)]) for i in rng.integers(len(self.listed), size=count)]

    def near(self, point: Values, rng: np.random.Generator) -> Values:
        """Another of the ten points that are nearest by their columns."""
        apart = ((self._x - self.encode([point])) ** 2).sum(1)
        others = [i for i in np.argsort(apart, kind="stable")[:11] if key(self.listed[i]) != key(point)]
        return dict(self.listed[others[int(rng.integers(len(others)))]]) if others else dict(point)

    @cached_property
    def _x(self) -> Array:
        return self.encode(self.listed)

    def points(self) -> Iterator[Values]:
        yield from (dict(point) for point in self.listed)

"""Candidates of a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.ridge import like_units
from quickstudy.select.warm.strategy import Tried
from quickstudy.space import Array, Points, Space, Values, key

DRAWN = 1000
"""Points that are drawn of a large space."""
NEAR, PARENTS = 200, 10
"""Neighbours that a pool is widened by, and of how many of the best trials."""


@dataclass(frozen=True)
class Pool:
    """Candidates of a whole search: random points, or all of a small space. known: what a strategy has of each."""

    points: list[Values]
    keys: list[str]
    x: Array
    known: Array | None = None

    @classmethod
    def of(
        cls,
        space: Space,
        seed: int,
        also: Sequence[Values] = (),
        known: Callable[[Array], Array] | None = None,
        count: int = DRAWN,
        most: int = DRAWN,
    ) -> Pool:
        """All points of a space that has no more than `most`, or `count` that are drawn. also: further points. known:
        from points (m, columns) to what is remembered of them (m, …)."""
        rng = np.random.default_rng([seed, 0x9001])
        drawn = list(space.points()) if space.count <= most else space.draw(count, rng)
        by_key = {key(point): point for point in [*also, *drawn]}
        points = list(by_key.values())
        x = space.encode(points)
        return cls(points, list(by_key), x, None if known is None else known(x))

    @cached_property
    def place(self) -> dict[str, int]:
        """The number of each point, by `space.key`."""
        return {name: i for i, name in enumerate(self.keys)}

    @cached_property
    def units(self) -> Array:
        """Descriptions (n, D) in like units."""
        return like_units(self.x)

    @cached_property
    def different(self) -> tuple[Array, NDArray[np.int64]]:
        """The rows of `units` that differ, (m, D), and which of them each point has, (n,): what says the same of many
        points is computed once."""
        _, first, which = np.unique(self.x, axis=0, return_index=True, return_inverse=True)
        return self.units[first], which.reshape(-1)

    def places(self, tried: Tried) -> list[int]:
        """The numbers of what was tried, in order; a point may have been tried more than once."""
        return [self.place[name] for name in tried.names]

    def fresh(self, tried: Tried) -> NDArray[np.int64]:
        """The numbers of the points that were not tried; all of them where each was."""
        left = np.array([name not in tried.keys for name in self.keys])
        return np.flatnonzero(left) if left.any() else np.arange(len(left))

    def drawn(self, tried: Tried, rng: np.random.Generator) -> Values:
        """One of the points that were not tried, all equally likely."""
        fresh = self.fresh(tried)
        return dict(self.points[int(fresh[int(rng.integers(len(fresh)))])])

    def widened(self, space: Space, tried: Tried, rng: np.random.Generator) -> Pool:
        """With every point that was tried and, where a space has more points than these, neighbours of the best."""
        further = [point for point, name in zip(tried.points, tried.names, strict=True) if name not in self.place]
        if space.count > len(self.points) and tried.points:
            order = np.argsort(tried.losses, kind="stable")[:PARENTS]
            further += [space.near(tried.points[int(order[k % len(order)])], rng) for k in range(NEAR)]
        new = {name: point for point in further if (name := key(point)) not in self.place}
        if not new:
            return self
        points = list(new.values())
        return Pool([*self.points, *points], [*self.keys, *new], np.concatenate([self.x, space.encode(points)]))


def leaders(experience: Experience, space: Space, each: int = 3) -> list[Values]:
    """The best points of every past task, if all points of the space may be asked for."""
    if isinstance(space, Points):
        return []
    return [task.points[int(i)] for task in experience.useful for i in np.argsort(task.losses)[:each]]

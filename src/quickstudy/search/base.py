"""The contract of strategies, and a search: which point of a space to try next, after what was tried."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.registry import Part, proposers
from quickstudy.search.gaussian import like_units
from quickstudy.space import Array, Space, Values, key

MOST = 50_000
"""Points of a space that are all candidates; of a larger space some are drawn."""
DRAWN, NEAR, PARENTS = 2000, 200, 10
"""Candidates drawn from anywhere in a large space, and near the best points, and how many those are."""

Describe = Callable[[Sequence[Values]], Array]
"""From n points to numbers (n, D)."""


@dataclass(frozen=True)
class Pool:
    """Points that may be tried. points: n; x: (n, D), what is said of each. All points differ."""

    points: Sequence[Values]
    x: Array

    def __post_init__(self) -> None:
        if len(self.points) == 0 or self.x.ndim != 2 or len(self.x) != len(self.points):
            raise ShapeError(
                f"{len(self.points)} points have descriptions of shape {self.x.shape}, expected (points, D) and at "
                "least one point. Describe each point by one row."
            )
        if not np.isfinite(self.x).all():
            raise DataError("A description of a point is no finite number. Give numbers.")

    @cached_property
    def place(self) -> dict[str, int]:
        """The number of each point, by `space.key`."""
        return {key(point): i for i, point in enumerate(self.points)}

    @cached_property
    def units(self) -> Array:
        """The descriptions in like units."""
        return like_units(self.x)

    @cached_property
    def different(self) -> tuple[Array, NDArray[np.int64]]:
        """The rows of `units` that differ, (m, D), and which of them each point has, (n,): what says the same of many
        points is computed once."""
        _, first, which = np.unique(self.x, axis=0, return_index=True, return_inverse=True)
        return self.units[first], which.reshape(-1)

    @classmethod
    def of(cls, space: Space, describe: Describe | None = None) -> Self:
        """All points of a finite space. describe: what is said of them; the space's own columns if not given."""
        points = list(space.points())
        return cls(points, (describe or space.encode)(points))


@dataclass
class Trials:
    """What was tried. points: n, in order; scores: as many, the higher the better."""

    points: list[Values] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def best(self) -> tuple[Values, float]:
        """The first of the points with the highest score; DataError if none was tried."""
        if not self.points:
            raise DataError("Nothing was tried yet. Tell the score of a point first.")
        first = int(np.argmax(self.scores))
        return self.points[first], self.scores[first]


@dataclass(frozen=True)
class Known:
    """What a strategy may look at. pool: candidates, those that were tried among them; tried: their numbers in it, in
    order, and scores (n,) as many; the same point may have been tried more than once. listed: whether no other point
    of the space may be tried, as where all are candidates."""

    space: Space
    pool: Pool
    tried: list[int]
    scores: Array
    listed: bool = True

    @cached_property
    def fresh(self) -> NDArray[np.int64]:
        """The numbers of the candidates that were not tried; all of them where each was."""
        left = np.ones(len(self.pool.points), dtype=bool)
        left[self.tried] = False
        return np.flatnonzero(left) if left.any() else np.arange(len(left))

    def drawn(self, rng: np.random.Generator) -> Values:
        """One of the fresh candidates, by chance."""
        return self.pool.points[int(self.fresh[int(rng.integers(len(self.fresh)))])]


class Strategy(ABC):
    """A frozen dataclass of options, and one function of what is known; whatever is drawn comes from `rng`.

    Registered with `quickstudy.registry.proposers`; its options are keyword-only.
    """

    @abstractmethod
    def ask(self, known: Known, rng: np.random.Generator) -> Values:
        """The point to try next: a candidate, or, where they are not all, any point of the space."""


class Search:
    """Asks a strategy for points and is told their scores, the higher the better. Points need not be those asked for.

    >>> from quickstudy.space import Choice
    >>> search = Search(Space({"width": Choice(8, 16, 32)}), "random")
    >>> for _ in range(3):
    ...     point = search.ask()
    ...     search.tell(point, score=-abs(point["width"] - 16))
    >>> search.best()
    ({'width': 16}, 0.0)
    """

    def __init__(
        self,
        space: Space,
        strategy: str | Part[Strategy] | Strategy,
        *,
        describe: Describe | None = None,
        pool: Pool | None = None,
        seed: int = 0,
    ) -> None:
        """describe: what is said of points; the space's columns if not given. pool: the candidates, if not all or, of a
        large space, some drawn anew each time. seed: of all that is drawn."""
        self.space, self.trials, self._rng = space, Trials(), np.random.default_rng(seed)
        part = proposers.part(strategy) if isinstance(strategy, str) else strategy
        self.strategy: Strategy = part.build() if isinstance(part, Part) else part
        self._describe: Describe = describe or space.encode
        if pool is None and space.count <= MOST:
            pool = Pool.of(space, describe)
        self._pool, self._tried = pool, list[int]()

    def ask(self) -> Values:
        """The point to try next; one that was not tried yet, while there is one."""
        pool = self._pool or self._drawn()
        tried = self._tried if self._pool else [pool.place[key(point)] for point in self.trials.points]
        known = Known(self.space, pool, tried, np.array(self.trials.scores), self._pool is not None)
        return dict(self.strategy.ask(known, self._rng))

    def tell(self, point: Values, score: float) -> None:
        """The score of a point. ConfigError where it is not of the space or not among the candidates, DataError where
        the score is no finite number."""
        self.space.check(point)
        if not np.isfinite(score):
            raise DataError(f"The score {score} is no finite number. Tell one, or leave the point out.")
        if self._pool is not None:
            if key(point) not in self._pool.place:
                raise ConfigError(f"{point} is not among the candidates of this search. Tell the score of one that is.")
            self._tried.append(self._pool.place[key(point)])
        self.trials.points.append(dict(point))
        self.trials.scores.append(float(score))

    def best(self) -> tuple[Values, float]:
        """The best point so far, and its score."""
        return self.trials.best()

    def _drawn(self) -> Pool:
        trials, rng = self.trials, self._rng
        points = self.space.draw(DRAWN, rng)
        order = np.argsort(-np.array(trials.scores), kind="stable")[:PARENTS]
        points += [self.space.near(trials.points[order[k % len(order)]], rng) for k in range(NEAR * (len(order) > 0))]
        different = list({key(point): point for point in [*trials.points, *points]}.values())
        return Pool(different, self._describe(different))

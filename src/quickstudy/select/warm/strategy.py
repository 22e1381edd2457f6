"""The contract of strategies: which point to try next, from what was tried on this task and on past ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quickstudy.registry import strategies
from quickstudy.select.warm.experience import Experience
from quickstudy.space import Array, Space, Values, key

MANY = 100_000
"""Points of a finite space that are still gone through one by one."""


@dataclass(frozen=True)
class Tried:
    """What was tried on a task: n points, in order, their losses (n,), all finite, and their names, by `space.key`.

    Trials that failed stand at the worst loss; trials that are under way at the mean one (the "constant liar" of
    Ginsbourger et al. 2010), so that the next proposal is another; all at 0 where none finished. own: (n,), which
    losses are the trials' own; all of them if not given.
    """

    points: list[Values]
    losses: Array
    names: list[str]
    own: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, points: list[Values], losses: Array) -> Self:
        return cls(points, losses, [key(point) for point in points])

    @cached_property
    def finished(self) -> NDArray[np.bool_]:
        """(n,): whether the loss is the trial's own."""
        return np.ones(len(self.points), dtype=bool) if self.own is None else self.own

    @cached_property
    def keys(self) -> set[str]:
        return set(self.names)


class Strategy(ABC):
    """Two pure functions. A strategy is a frozen dataclass of options and holds nothing else.

    Registered with `quickstudy.registry.strategies`; its options are keyword-only.
    """

    @abstractmethod
    def prepare(self, space: Space, experience: Experience, seed: int) -> Any:
        """What is learned of past tasks, once for a task; the same seed gives the same."""

    @abstractmethod
    def propose(self, prepared: Any, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        """The next point; one that was not tried, if there is any."""


def untried(space: Space, tried: Tried, rng: np.random.Generator) -> Values:
    """A random point that was not tried; of a finite space of which nothing is left, any."""
    known = tried.keys
    for _ in range(100):
        (point,) = space.draw(1, rng)
        if key(point) not in known:
            return point
    left = [point for point in space.points() if key(point) not in known] if space.count <= MANY else []
    return left[int(rng.integers(len(left)))] if left else point


@strategies.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(Strategy):
    """Points drawn at random: what every search is held against."""

    def prepare(self, space: Space, experience: Experience, seed: int) -> None:
        return None

    def propose(self, prepared: None, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
        return untried(space, tried, rng)

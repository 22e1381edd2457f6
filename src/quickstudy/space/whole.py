"""Spaces: what may be chosen of several options, some of which may depend on others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError, DataError, ShapeError, unknown_name
from quickstudy.space.axes import Axis, axis_of, same, told, values_of

Array = NDArray[np.float64]
Values = dict[str, Any]
"""One point of a space: a value for each option."""
Describe = Callable[[Sequence[Values]], Array]
"""From n points to numbers (n, D)."""
LISTED, _DRAWN = 50_000, 2000
"""Points of a space up to which all of them are gone through; of a larger one some are drawn, and how many."""


class When(NamedTuple):
    """An option has an effect only where another has one of these values."""

    option: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Space:
    """What may be chosen of each option.

    conditions: options without effect unless another has certain values. There they stand at the middle of their range,
    or at their first choice, in every point that is drawn, so that points that are the same look the same. describe:
    what points look like, instead of their options' columns (see `described`); spaces that differ in nothing else are
    the same.

    >>> space = Space({"lr": Range(1e-4, 1e-1, log=True), "norm": Choice("batch", "layer")})
    >>> space.encode([{"lr": 1e-4, "norm": "layer"}]).tolist()
    [[0.0, 0.0, 1.0]]
    """

    axes: Mapping[str, Axis]
    conditions: Mapping[str, When] = field(default_factory=dict)
    describe: Describe | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, when in self.conditions.items():
            for one in (name, when.option):
                if one not in self.axes:
                    raise unknown_name("option of this space", one, self.axes)
            if list(self.axes).index(when.option) >= list(self.axes).index(name):
                raise ConfigError(f"{name} depends on {when.option}, which comes after it. Name {when.option} first.")
            if lost := [value for value in when.values if not self.axes[when.option].holds(value)]:
                raise ConfigError(f"{name} depends on {when.option} being {lost[0]!r}, which it never is. Correct it.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.axes)

    @property
    def columns(self) -> int:
        """How many numbers describe a point."""
        if self.describe is not None:
            return int(self.encode(self.draw(1, np.random.default_rng(0))).shape[1])
        return sum(axis.columns for axis in self.axes.values())

    @property
    def count(self) -> float:
        """How many points it has; infinite where a range is continuous."""
        return math.prod(axis.count for axis in self.axes.values())

    def check(self, values: Values) -> None:
        """ConfigError where values are not those of a point of this space."""
        for name in values:
            if name not in self.axes:
                raise unknown_name("option of this space", name, self.axes)
        for name, axis in self.axes.items():
            if name not in values:
                raise ConfigError(f"A point of this space needs a value of {name!r}. Give one.")
            if not axis.holds(values[name]):
                raise ConfigError(f"{name} is {values[name]!r}, expected {told(axis)}. Correct it.")

    def settled(self, values: Values) -> Values:
        """The point with every value as its axis gives it (4 for 4.0 where numbers are whole), and every option that
        has no effect at its neutral value: the same point is then the same text, too."""
        return self._effective({name: self.axes[name].own(value) for name, value in values.items()})

    def _effective(self, values: Values) -> Values:
        """The point with every option that has no effect at its neutral value."""
        if not self.conditions:
            return values
        off = set[str]()
        for name in self.axes:
            when = self.conditions.get(name)
            if when and (when.option in off or not any(same(values[when.option], one) for one in when.values)):
                off.add(name)
        return {name: self.axes[name].neutral if name in off else value for name, value in values.items()}

    def encode(self, points: Sequence[Values]) -> Array:
        """(n, columns), numbers between 0 and 1; what has no effect has none on them."""
        if self.describe is not None and points:
            return self.describe([self.settled(point) for point in points])
        effective = [self._effective(point) for point in points]
        rows = [[c for name, axis in self.axes.items() for c in axis.encode(point[name])] for point in effective]
        return np.array(rows, dtype=np.float64).reshape(len(points), self.columns)

    def described(self, describe: Describe) -> Self:
        """The same space, seen through what `describe` says of points; numbers of any size, which come to lie between
        0 and 1 for all points of a space, or for those that are drawn of a large one.

        Raises ShapeError where not each point has a row, DataError for numbers that are not finite.

        >>> space = Space({"width": Choice(8, 16, 32)})
        >>> space.described(lambda points: np.array([[p["width"] ** 2] for p in points])).encode([{"width": 16}])
        array([[0.2]])
        """
        drawn = list(self.points()) if self.count <= LISTED else self.draw(_DRAWN, np.random.default_rng(0))
        x = _described(describe, drawn)
        low, span = x.min(0), np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), 1.0)
        return replace(self, describe=lambda points: np.asarray((_described(describe, points) - low) / span))

    def draw(self, count: int, rng: np.random.Generator) -> list[Values]:
        """Points drawn independently of each other."""
        return [self._effective({name: axis.draw(rng) for name, axis in self.axes.items()}) for _ in range(count)]

    def near(self, point: Values, rng: np.random.Generator) -> Values:
        """The same point with another value of one option, if any has another."""
        free = [name for name, axis in self.axes.items() if axis.count > 1]
        if not free:
            return dict(point)
        name = free[int(rng.integers(len(free)))]
        return self.settled({**point, name: self.axes[name].near(point[name], rng)})

    def points(self) -> Iterator[Values]:
        """Every point of a finite space, the last option changing first; DataError if it has infinitely many.

        Where conditions make points the same, they come once for each.
        """
        if math.isinf(self.count):
            raise DataError("A space with a range of fractions has no list of its points. Draw some.")
        for values in product(*(axis.all() for axis in self.axes.values())):
            yield self._effective(dict(zip(self.axes, values, strict=True)))

    def to_json(self) -> dict[str, Any]:
        when = {name: {"when": [one.option, list(one.values)]} for name, one in self.conditions.items()}
        return {name: axis.to_json() | when.get(name, {}) for name, axis in self.axes.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        conditions = {
            name: When(one["when"][0], values_of(one["when"][1])) for name, one in data.items() if "when" in one
        }
        return cls({name: axis_of(one) for name, one in data.items()}, conditions)


def _described(describe: Describe, points: Sequence[Values]) -> Array:
    x = np.asarray(describe(points), dtype=np.float64)
    if x.ndim != 2 or len(x) != len(points) or not x.shape[1]:
        raise ShapeError(f"{len(points)} points have descriptions of shape {x.shape}. Describe each point by one row.")
    if not np.isfinite(x).all():
        raise DataError("A description of a point is no finite number. Give numbers.")
    return x


def key(values: Values) -> str:
    """The same text for the same values."""
    return json.dumps(values, sort_keys=True, default=str)

"""What may be chosen: a range of numbers or one of several values for an option, and spaces of such options.

Searches see a space through columns of numbers between 0 and 1, whatever its options are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError, DataError, ShapeError, unknown_name

Array = NDArray[np.float64]
Values = dict[str, Any]
"""One point of a space: a value for each option."""
Describe = Callable[[Sequence[Values]], Array]
"""From n points to numbers (n, D)."""
LISTED, _DRAWN = 50_000, 2000
"""Points of a space up to which all of them are gone through; of a larger one some are drawn, and how many."""


def _same(one: Any, other: Any) -> bool:
    """True is not 1 here."""
    one, other = _plain(one), _plain(other)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _identical(one: Any, other: Any) -> bool:
    """Equal, and of one type: 1.0 is not 1 here, as it is another text."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_identical, one, other))
    return type(one) is type(other) and bool(one == other)


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's, which JSON knows."""
    return value.item() if isinstance(value, np.generic) else value


def _values(read: list[Any]) -> tuple[Any, ...]:
    """Values that JSON has; it knows no tuples."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in read)


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; whole ones where both are whole.

    log: equal ratios are equally far apart, which suits rates and sizes.

    >>> Range(1e-4, 1e-1, log=True).at(1 / 3)
    0.001
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", _plain(self.low))
        object.__setattr__(self, "high", _plain(self.high))
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ConfigError(f"A range from {self.low} to {self.high} holds no number. Give finite ends in order.")
        if self.log and self.low <= 0:
            raise ConfigError(f"A range from {self.low} cannot be logarithmic. Start above 0, or leave `log` out.")

    def __eq__(self, other: object) -> bool:
        """Whole numbers are another range than all numbers between the same ends."""
        if not isinstance(other, Range):
            return NotImplemented
        return (self.low, self.high, self.log, self.whole) == (other.low, other.high, other.log, other.whole)

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def columns(self) -> int:
        return 1

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be allowed for all of them to be."""
        return self.low, self.high

    @property
    def neutral(self) -> float | int:
        return self.at(0.5)

    @property
    def count(self) -> float:
        return self.high - self.low + 1 if self.whole else 1 if self.low == self.high else math.inf

    def at(self, place: float) -> float | int:
        """The number at `place`, 0 for the lowest and 1 for the highest."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + min(max(place, 0.0), 1.0) * (high - low)
        value = math.exp(value) if self.log else value
        if self.whole:
            return int(min(max(round(value), self.low), self.high))
        return float(min(max(float(f"{value:.12g}"), self.low), self.high))

    def encode(self, value: Any) -> tuple[float, ...]:
        """Where the value lies, between 0 and 1; 0 in a range of one number."""
        low, high, v = (math.log(x) for x in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return ((v - low) / (high - low) if high > low else 0.0,)

    def holds(self, value: Any) -> bool:
        number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (not self.whole or float(value).is_integer())

    def own(self, value: Any) -> float | int:
        """A value that it holds as this range gives it: 4 for 4.0 where numbers are whole, and 4.0 for 4 elsewhere."""
        return int(value) if self.whole else float(min(max(float(value), self.low), self.high))

    def draw(self, rng: np.random.Generator) -> float | int:
        """Whole numbers are equally likely where the range is not logarithmic."""
        if self.whole and not self.log:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        return self.at(rng.random())

    def near(self, value: Any, rng: np.random.Generator) -> float | int:
        """Another number, a tenth of the range away as a rule; the same one if there is no other."""
        for _ in range(100):
            step = self.at(self.encode(value)[0] + 0.1 * rng.standard_normal())
            if step != value:
                return step
        others = [n for n in (value - 1, value + 1) if self.whole and self.holds(n)]
        return int(others[int(rng.integers(len(others)))]) if others else value

    def all(self) -> list[Any]:
        return list(range(int(self.low), int(self.high) + 1)) if self.whole else [self.low]

    def to_json(self) -> dict[str, Any]:
        return {"range": [self.low, self.high], "log": self.log}


@dataclass(frozen=True)
class Choice:
    """One of several values: texts, numbers, flags; no order is known of them.

    >>> Choice("sgd", "adam").encode("adam")
    (0.0, 1.0)
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        if not values:
            raise ConfigError("A choice among no values. Name some.")
        if any(_same(a, b) for i, a in enumerate(values) for b in values[:i]):
            raise ConfigError(f"A choice names a value twice: {values}. Name each once.")
        object.__setattr__(self, "values", tuple(map(_plain, values)))

    def __eq__(self, other: object) -> bool:
        """1 and 0 are another choice than True and False, and than 1.0 and 0.0."""
        return _identical(self.values, other.values) if isinstance(other, Choice) else NotImplemented

    @property
    def columns(self) -> int:
        return len(self.values)

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.values

    @property
    def neutral(self) -> Any:
        return self.values[0]

    @property
    def count(self) -> float:
        return len(self.values)

    def _index(self, value: Any) -> int:
        for i, one in enumerate(self.values):
            if _same(one, value):
                return i
        raise ConfigError(f"{value!r} is none of the choices {told(self)}. Correct it.")

    def encode(self, value: Any) -> tuple[float, ...]:
        """1 at the value's place and 0 elsewhere."""
        index = self._index(value)
        return tuple(float(i == index) for i in range(len(self.values)))

    def holds(self, value: Any) -> bool:
        return any(_same(one, value) for one in self.values)

    def own(self, value: Any) -> Any:
        """A value that it holds as it was named: 4 for 4.0, or for a number of numpy's."""
        return self.values[self._index(value)]

    def draw(self, rng: np.random.Generator) -> Any:
        return self.values[int(rng.integers(len(self.values)))]

    def near(self, value: Any, rng: np.random.Generator) -> Any:
        others = [one for i, one in enumerate(self.values) if i != self._index(value)]
        return others[int(rng.integers(len(others)))] if others else value

    def all(self) -> list[Any]:
        return list(self.values)

    def to_json(self) -> dict[str, Any]:
        return {"choice": list(self.values)}


Axis = Range | Choice


def axis_of(data: Mapping[str, Any]) -> Axis:
    """The inverse of `to_json`."""
    if "choice" in data:
        return Choice(*_values(data["choice"]))
    low, high = data["range"]
    return Range(low, high, log=bool(data["log"]))


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
            if when and (when.option in off or not any(_same(values[when.option], one) for one in when.values)):
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
            name: When(one["when"][0], _values(one["when"][1])) for name, one in data.items() if "when" in one
        }
        return cls({name: axis_of(one) for name, one in data.items()}, conditions)


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


def _described(describe: Describe, points: Sequence[Values]) -> Array:
    x = np.asarray(describe(points), dtype=np.float64)
    if x.ndim != 2 or len(x) != len(points) or not x.shape[1]:
        raise ShapeError(f"{len(points)} points have descriptions of shape {x.shape}. Describe each point by one row.")
    if not np.isfinite(x).all():
        raise DataError("A description of a point is no finite number. Give numbers.")
    return x


def told(axis: Axis) -> str:
    """The axis in words."""
    if isinstance(axis, Choice):
        return " or ".join(map(repr, axis.values))
    return f"{axis.low:g} to {axis.high:g}"


def key(values: Values) -> str:
    """The same text for the same values."""
    return json.dumps(values, sort_keys=True, default=str)

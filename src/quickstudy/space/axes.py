"""What may be chosen of one option: a range of numbers, or one of several values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quickstudy.errors import ConfigError


def same(one: Any, other: Any) -> bool:
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


def values_of(read: list[Any]) -> tuple[Any, ...]:
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
        if any(same(a, b) for i, a in enumerate(values) for b in values[:i]):
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
            if same(one, value):
                return i
        raise ConfigError(f"{value!r} is none of the choices {told(self)}. Correct it.")

    def encode(self, value: Any) -> tuple[float, ...]:
        """1 at the value's place and 0 elsewhere."""
        index = self._index(value)
        return tuple(float(i == index) for i in range(len(self.values)))

    def holds(self, value: Any) -> bool:
        return any(same(one, value) for one in self.values)

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
        return Choice(*values_of(data["choice"]))
    low, high = data["range"]
    return Range(low, high, log=bool(data["log"]))


def told(axis: Axis) -> str:
    """The axis in words."""
    if isinstance(axis, Choice):
        return " or ".join(map(repr, axis.values))
    return f"{axis.low:g} to {axis.high:g}"

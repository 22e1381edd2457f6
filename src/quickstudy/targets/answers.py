"""What a model says of n inputs, in the user's own names and units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.targets.maps import BACKGROUND
from quickstudy.targets.reported import Covered

_LEVELS = (0.5, 0.9, 0.95)  # of the intervals that a spread stands for


def frame_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """A table as a data frame of pandas; MissingExtra where that is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra("pandas", "data", "A data frame of answers") from error
    return pandas.DataFrame(list(rows), columns=list(columns))


NONE = "none of these"
"""What is said of an input that is taken to be of no class."""


class Answer(ABC):
    """Answers for n inputs: iterates, indexes, and becomes a table.

    `columns` and `rows()` are the table; `table()` is the same as a mapping from columns to lists, and `frame()` a data
    frame.
    """

    _shown: Callable[[Answer], str] | None = None

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """What the table's columns are called."""

    @abstractmethod
    def row(self, index: int) -> tuple[Any, ...]:
        """The cells of input `index`: texts and numbers."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """The answer for one input, short."""

    @property
    @abstractmethod
    def prediction(self) -> Tensor:
        """What it says as predictions (n, *prediction_shape) of its target, to be held against labels."""

    @property
    def maps(self) -> Tensor | None:
        """The probability of each class at each pixel, (n, N, height, width), where that is the answer."""
        return None

    def covered(self, y: Tensor) -> list[Covered]:
        """What was promised to hold the labels y (n, *shape), at each level, and whether it does; nothing where answers
        promise nothing."""
        return []

    def told(self, index: int) -> str:
        """The answer for one input as people read it."""
        return str(self[index])

    @property
    def refused(self) -> Tensor | None:
        """Which inputs are taken for none of what it tells, (n,) bool; None where that was not asked for."""
        return None

    def believed(
        self, known: Tensor | None, accepted: Tensor | None, inside: Tensor | None, coverage: float | None = None
    ) -> Answer:
        """The same answer with how far it can be believed; ConfigError where nothing tells. See `ClassAnswer`."""
        raise ConfigError(f"Nothing tells how far a {type(self).__name__} can be believed.")

    def between(self, half: Tensor, level: float) -> Answer:
        """The same answer with intervals; ConfigError where it is no numbers. See `NumberAnswer`."""
        raise ConfigError(f"A {type(self).__name__} has no intervals: these are of numbers.")

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows of the table."""
        return [self.row(index) for index in range(len(self))]

    def table(self) -> dict[str, list[Any]]:
        """The table by columns."""
        rows = self.rows()
        return {name: [row[i] for row in rows] for i, name in enumerate(self.columns)}

    def frame(self) -> Any:
        """The table as a data frame of pandas; MissingExtra where that is not installed."""
        return frame_of(self.columns, self.rows())

    def shown_by(self, show: Callable[[Answer], str]) -> Self:
        """The same answer, which `show` turns into HTML where a notebook asks for it."""
        object.__setattr__(self, "_shown", show)  # frozen: of how it looks, not of what it says
        return self

    def _repr_html_(self) -> str | None:
        return None if self._shown is None else self._shown(self)


@dataclass(frozen=True)
class ClassAnswer(Answer):
    """Names with probabilities. classes: all names (N). probabilities: (n, N). Each item is (name, probability).

    known: (n,) the probability that an input is of one of the classes at all, where half of all inputs are. accepted:
    (n,) bool, False for inputs that are taken to be of none, at the rate of false alarms that was asked for. inside:
    (n, N) bool, the set of classes that holds the right one with the coverage that was asked for. Each is None where
    nothing tells it, or where it was not asked for. coverage: that of the sets.
    """

    classes: tuple[str, ...]
    probabilities: Tensor
    known: Tensor | None = None
    accepted: Tensor | None = None
    inside: Tensor | None = None
    coverage: float | None = None

    @property
    def names(self) -> list[str]:
        """The likeliest name of each input."""
        return [self.classes[i] for i in self.probabilities.argmax(dim=1).tolist()]

    @property
    def prediction(self) -> Tensor:
        return self.probabilities.clamp(min=torch.finfo(self.probabilities.dtype).tiny).log()

    @property
    def sets(self) -> list[tuple[str, ...]]:
        """The classes of the set of each input, the likeliest first; ConfigError where no coverage was asked for."""
        if self.inside is None:
            raise ConfigError("There are no sets: ask for a coverage, as by model.predict(records, coverage=0.95).")
        order = self.probabilities.argsort(dim=1, descending=True).tolist()
        return [tuple(self.classes[i] for i in row if one[i]) for row, one in zip(order, self.inside, strict=True)]

    @property
    def refused(self) -> Tensor | None:
        return None if self.accepted is None else ~self.accepted

    def covered(self, y: Tensor) -> list[Covered]:
        """The sets, where a coverage was asked for."""
        if self.inside is None or self.coverage is None:
            return []
        return [Covered("sets", self.coverage, self.inside.gather(1, y[:, None])[:, 0], self.inside.sum(1))]

    def believed(
        self, known: Tensor | None, accepted: Tensor | None, inside: Tensor | None, coverage: float | None = None
    ) -> ClassAnswer:
        known, accepted, inside = (None if part is None else part.cpu() for part in (known, accepted, inside))
        return ClassAnswer(self.classes, self.probabilities, known, accepted, inside, coverage)

    def told(self, index: int) -> str:
        name, probability = self[index]
        if self.accepted is not None and not self.accepted[index]:
            return NONE
        if self.inside is None:
            return f"{name} ({100 * probability:.0f} %)"
        others = [one for one in self.sets[index] if one != name]
        return f"{name} ({100 * probability:.0f} %){''.join(f', or {one}' for one in others)}"

    @property
    def columns(self) -> tuple[str, ...]:
        believed = [("known", self.known), ("accepted", self.accepted), ("set", self.inside)]
        further = (name for name, part in believed if part is not None)
        return "class", "probability", *further, *(f"p({name})" for name in self.classes)

    def row(self, index: int) -> tuple[Any, ...]:
        further: list[Any] = [] if self.known is None else [float(self.known[index])]
        further += [] if self.accepted is None else ["yes" if self.accepted[index] else "no"]
        further += [] if self.inside is None else ["; ".join(self.sets[index])]
        return *self[index], *further, *self.probabilities[index].tolist()

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> tuple[str, float]:
        one = self.probabilities[index]
        best = int(one.argmax())
        return self.classes[best], float(one[best])

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {probability:.2f}" for name, probability in list(self)[:4])
        return f"ClassAnswer({shown}{', …' if len(self) > 4 else ''})"


@dataclass(frozen=True)
class NumberAnswer(Answer):
    """Numbers in the user's units. values: (n, *shape). spread: standard deviations, None where they are not known.

    Each item is a value, or (value, spread) where spreads are known; numbers, or lists where there are several.
    low, high: (n, *shape), the ends of intervals that hold the truth with the probability `level`, all numbers of one
    label together; None where no coverage was asked for.
    """

    values: Tensor
    spread: Tensor | None = None
    units: str = ""
    low: Tensor | None = None
    high: Tensor | None = None
    level: float | None = None

    def between(self, half: Tensor, level: float) -> NumberAnswer:
        values = self.values.double()
        half = half.double()
        return replace(self, low=values - half, high=values + half, level=level)

    @property
    def prediction(self) -> Tensor:
        return self.values

    def covered(self, y: Tensor) -> list[Covered]:
        """The intervals that were asked for, or else the central ones of normal distributions; of several numbers a
        label counts as inside where all are."""
        if self.low is not None and self.high is not None and self.level is not None:
            inside = ((self.low <= y) & (y <= self.high)).unsqueeze(-1).flatten(1).all(1)
            width = (self.high - self.low).unsqueeze(-1).flatten(1).mean(1)
            return [Covered("intervals", self.level, inside, width)]
        if self.spread is None:
            return []
        away = ((y - self.values) / self.spread).abs().unsqueeze(-1).flatten(1).amax(1)
        spread = self.spread.unsqueeze(-1).flatten(1).mean(1)
        count = max(1, self.values[:1].numel())
        found = []
        for level in _LEVELS:  # of a box of independent sides, which holds all numbers of a label as often
            half = float(torch.special.ndtri(torch.tensor(0.5 + level ** (1 / count) / 2, dtype=torch.float64)))
            found.append(Covered("intervals", level, away <= half, 2 * half * spread))
        return found

    def told(self, index: int) -> str:
        values = [f"{number:.3g}" for number in self.values[index].flatten().tolist()]
        if self.spread is not None:
            sure = self.spread[index].flatten().tolist()
            values = [f"{value} ± {half:.2g}" for value, half in zip(values, sure, strict=True)]
        if self.low is not None and self.high is not None:
            ends = zip(self.low[index].flatten().tolist(), self.high[index].flatten().tolist(), strict=True)
            values = [f"{value} ({low:.3g} to {high:.3g})" for value, (low, high) in zip(values, ends, strict=True)]
        return ", ".join(values)

    @property
    def columns(self) -> tuple[str, ...]:
        count = self.values[:1].numel() if len(self) else 1
        unit = f" ({self.units})" if self.units else ""
        values = [f"value{unit}"] if count == 1 else [f"value {i + 1}{unit}" for i in range(count)]
        further = [("spread", self.spread), ("low", self.low), ("high", self.high)]
        return (*values, *(v.replace("value", name, 1) for name, part in further if part is not None for v in values))

    def row(self, index: int) -> tuple[Any, ...]:
        parts = [part for part in (self.values, self.spread, self.low, self.high) if part is not None]
        return tuple(number for part in parts for number in part[index].flatten().tolist())

    def _said(self, index: int) -> list[float]:
        parts = [part for part in (self.values, self.spread) if part is not None]
        return [number for part in parts for number in part[index].flatten().tolist()]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        one = self.values[index]
        value = one.item() if one.numel() == 1 else one.tolist()
        if self.spread is None:
            return value
        sure = self.spread[index]
        return value, sure.item() if sure.numel() == 1 else sure.tolist()

    def __repr__(self) -> str:
        shown = ", ".join(" ± ".join(f"{number:.4g}" for number in self._said(i)) for i in range(min(4, len(self))))
        return f"NumberAnswer({shown}{', …' if len(self) > 4 else ''})"


@dataclass(frozen=True)
class MaskAnswer(Answer):
    """The class of every pixel. classes: all names (N). probabilities: (n, N, height, width).

    Each item is a mask (height, width) uint8, of numbers in `classes`. The table says which share of an image each
    class has, and how much of it is in doubt.
    """

    classes: tuple[str, ...]
    probabilities: Tensor

    @property
    def masks(self) -> Tensor:
        """The number of the likeliest class of each pixel, (n, height, width) uint8."""
        return self.probabilities.argmax(dim=1).to(torch.uint8)

    @property
    def doubt(self) -> Tensor:
        """The probability that a pixel is of another class than is said, (n, height, width)."""
        return 1 - self.probabilities.amax(dim=1)

    @property
    def maps(self) -> Tensor:
        return self.probabilities

    @property
    def prediction(self) -> Tensor:
        return self.probabilities.clamp(min=torch.finfo(self.probabilities.dtype).tiny).log()

    @property
    def columns(self) -> tuple[str, ...]:
        return *(f"share of {name}" for name in self.classes), "doubt"

    def row(self, index: int) -> tuple[float, ...]:
        return *self._shares(index), float(self.doubt[index].mean())

    def _shares(self, index: int) -> list[float]:
        mask = self.masks[index]
        return [float((mask == i).float().mean()) for i in range(len(self.classes))]

    def told(self, index: int) -> str:
        return told_shares(self._shares(index), self.classes)

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> Tensor:
        return self.masks[index]

    def __repr__(self) -> str:
        return f"MaskAnswer({len(self)} masks of {', '.join(self.classes)})"


def told_shares(shares: Sequence[float], names: Sequence[str]) -> str:
    """'cat 23 %, dog 4 %': what an image shows, the background left out unless it is all."""
    there = [(name, share) for name, share in zip(names, shares, strict=True) if share > 0 and name != BACKGROUND]
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in there) or f"nothing but {BACKGROUND}"


@dataclass(frozen=True)
class TextAnswer(Answer):
    """Transcripts, each with the probability that the network gives it. Each item is (text, probability).

    prediction: logits (n, positions, 1 + tokens) that they were read from.
    """

    texts: tuple[str, ...]
    probabilities: Tensor
    logits: Tensor

    @property
    def prediction(self) -> Tensor:
        return self.logits

    @property
    def columns(self) -> tuple[str, ...]:
        return "text", "probability"

    def row(self, index: int) -> tuple[Any, ...]:
        return self[index]

    def told(self, index: int) -> str:
        text, probability = self[index]
        return f"{text or 'nothing'} ({100 * probability:.0f} %)"

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, float]:
        return self.texts[index], float(self.probabilities[index])

    def __repr__(self) -> str:
        return f"TextAnswer({', '.join(self.texts[:4])}{', …' if len(self) > 4 else ''})"


@dataclass(frozen=True)
class TagAnswer(Answer):
    """Tags with a probability each. tags: all names (N). probabilities, logits: (n, N).

    Each item is a list of (name, probability), of those that are likelier than not.
    """

    tags: tuple[str, ...]
    probabilities: Tensor
    logits: Tensor

    @property
    def prediction(self) -> Tensor:
        return self.logits

    @property
    def columns(self) -> tuple[str, ...]:
        return "tags", *(f"p({name})" for name in self.tags)

    def row(self, index: int) -> tuple[Any, ...]:
        return "; ".join(name for name, _ in self[index]), *self.probabilities[index].tolist()

    def told(self, index: int) -> str:
        return ", ".join(f"{name} ({100 * probability:.0f} %)" for name, probability in self[index]) or "no tag"

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> list[tuple[str, float]]:
        each = zip(self.tags, self.probabilities[index].tolist(), strict=True)
        return [(name, probability) for name, probability in each if probability > 0.5]

    def __repr__(self) -> str:
        shown = ", ".join(self.row(i)[0] or "no tag" for i in range(min(4, len(self))))
        return f"TagAnswer({shown}{', …' if len(self) > 4 else ''})"

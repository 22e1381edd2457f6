"""How good one adapted model is on labelled records: what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from quickstudy.errors import first_of
from quickstudy.evaluation.estimate import wilson
from quickstudy.pages.notebook import grid
from quickstudy.spec import TaskSpec
from quickstudy.targets.answers.base import frame_of
from quickstudy.targets.reported import Figure, Hits

_BINS = 10  # of probabilities


class Share(NamedTuple):
    """A value and its 95 % interval, which is infinite where none is known."""

    value: float
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def of(cls, right: float, count: int) -> Share:
        """So many of `count`, by Wilson's interval."""
        return cls(right / count if count else math.nan, *wilson(right, count))

    def to_json(self) -> dict[str, float | None]:
        return {name: _plain(value) for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Judged:
    """One figure of a model. share: its value. blind: the same for who answers without a look at the records, and yet
    knows how often each label comes."""

    figure: Figure
    share: Share
    blind: float

    @property
    def between(self) -> str:
        """'85.1 to 93.0 %': the interval; '' if none is known."""
        return self.figure.between(self.share.low, self.share.high)

    @property
    def guessed(self) -> str:
        """The figure of who does not look; '' if it has none."""
        return "" if math.isnan(self.blind) else self.figure.show(self.blind)

    def __str__(self) -> str:
        told = f"{self.figure.name} {self.figure.show(self.share.value)}"
        return f"{told} ({self.between})" if self.between else told


class Bin(NamedTuple):
    """Probabilities from `low` to `high`: how many there are (n), their mean, and how often what they were given to was
    so."""

    low: float
    high: float
    n: int
    said: float
    right: Share


@dataclass(frozen=True)
class Reliability:
    """Whether probabilities can be believed. error: the expected calibration error, Σ n_b / n |said − right| over bins
    (Naeini et al. 2015)."""

    error: float
    bins: tuple[Bin, ...]

    @classmethod
    def of(cls, said: Tensor, right: Tensor) -> Reliability:
        """From probabilities (m,) and whether what they were given to is so, (m,) bool, in bins of equal width."""
        at = (said.double() * _BINS).long().clamp(0, _BINS - 1)
        bins, error = [], 0.0
        for index in range(_BINS):
            mine = at == index
            if count := int(mine.sum()):
                mean, share = float(said[mine].double().mean()), Share.of(int(right[mine].sum()), count)
                bins.append(Bin(index / _BINS, (index + 1) / _BINS, count, mean, share))
                error += count / len(said) * abs(mean - share.value)
        return cls(error, tuple(bins))


@dataclass(frozen=True)
class Promise:
    """How often `what` of a level (sets, intervals) held the truth, and how large they are in the mean."""

    what: str
    level: float
    found: Share
    size: float


@dataclass(frozen=True)
class Refusals:
    """Which records were taken for none of the classes. promised: the rate that was asked for, of records of the
    classes. known, unknown: the share of these, and of what the model was not shown, NaN where there are none."""

    promised: float
    known: Share
    unknown: Share


@dataclass(frozen=True, repr=False, eq=False)
class Scored:
    """What a model did on labelled records.

    figures: of the target, the headline first. hits: of each name that answers hold. confusion: row: the true class,
    column: the answer, where a record is of one class. reliability: of probabilities; promises: of intervals and sets,
    where answers have any. refusals: where a rate of false alarms was asked for. unknown: what the model was not shown,
    with how many records hold it: they count nowhere else. left_out: how many records could not be read. transductive:
    whether records may change each other's answers. rows: of each record its true label, the headline of it alone (None
    if it is unknown), and the answer, as `columns` call them; kept: which of the records they are. spec, classes: of
    the model.
    """

    spec: TaskSpec
    classes: tuple[str, ...]
    figures: tuple[Judged, ...]
    hits: tuple[Hits, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: Reliability | None
    promises: tuple[Promise, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...] = field(repr=False)
    kept: tuple[int, ...] = field(repr=False)
    unknown: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0
    transductive: bool = False
    refusals: Refusals | None = None

    @property
    def count(self) -> int:
        """Of how many records the figures are; of a forecast, values."""
        return len(self.rows) - sum(self.unknown.values())

    @property
    def what(self) -> str:
        """What is counted."""
        if self.spec.format.labels_itself:
            return f"{self.spec.format.example}{'' if self.count == 1 else 's'}"
        return self.spec.format.what

    @property
    def value(self) -> float:
        """The headline."""
        return self.figures[0].share.value

    @property
    def blind(self) -> str:
        """Who answers without a look, in words."""
        return "the last value again" if self.spec.format.labels_itself else self.spec.target.guess

    def __str__(self) -> str:
        """The headline with its interval, beside who does not look."""
        first = self.figures[0]
        guess = f"; {self.blind} {first.guessed}" if first.guessed else ""
        return f"{first} on {self.count} {self.what}{guess}"

    def __repr__(self) -> str:
        return f"Scored({self})"

    def _repr_html_(self) -> str:
        rows = [[one.figure.name, one.figure.show(one.share.value), one.between, one.guessed] for one in self.figures]
        title = f"On {self.count} labelled {self.what}"
        return grid(title, ["figure", "value", "95 % interval", self.blind], rows, self.warning)

    def frame(self) -> Any:
        """`table` as a data frame of pandas; MissingExtra where that is not installed."""
        return frame_of(self.columns, self.rows)

    @property
    def warning(self) -> str:
        """What to say of records that hold what the model was not shown; '' if there are none."""
        if not self.unknown:
            return ""
        each = first_of([f"{name} ({count})" for name, count in self.unknown.items()])
        return (
            f"{sum(self.unknown.values())} of {len(self.rows)} {self.spec.format.what} hold what the model was not "
            f"shown, and count nowhere: {each}. It knows {first_of(self.classes or [str(self.spec.target)])}."
        )

    def table(self) -> dict[str, list[Any]]:
        """What was said of each record, by columns, as `pandas.DataFrame` takes it."""
        return {name: [row[i] for row in self.rows] for i, name in enumerate(self.columns)}

    def to_json(self) -> dict[str, Any]:
        """All figures, without those of single records; what is not finite is None."""
        ece = None if self.reliability is None else self.reliability.error
        bins = () if self.reliability is None else self.reliability.bins
        return {
            "count": self.count,
            "figures": {j.figure.name: j.share.to_json() | {"blind": _plain(j.blind)} for j in self.figures},
            "classes": [
                {"name": one.name, "n": one.true, "said": one.said, "right": one.both}
                | {name: _plain(getattr(one, name)) for name in ("recall", "precision", "iou")}
                for one in self.hits
            ],
            "confusion": [list(row) for row in self.confusion],
            "calibration_error": ece,
            "reliability": [bin._asdict() | {"right": bin.right.to_json()} for bin in bins],
            "promises": [
                {"what": one.what, "level": one.level, "found": one.found.to_json(), "size": _plain(one.size)}
                for one in self.promises
            ],
            "refusals": None
            if self.refusals is None
            else {"promised": self.refusals.promised}
            | {name: getattr(self.refusals, name).to_json() for name in ("known", "unknown")},
            "unknown": dict(self.unknown),
            "left_out": self.left_out,
            "transductive": self.transductive,
        }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None

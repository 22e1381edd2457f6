"""Time series as examples: a window of past values, and the value that follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, State, leaves
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Curve, Drawing
from quickstudy.formats.layout import Leaf
from quickstudy.formats.leaving import only, shares
from quickstudy.formats.records import Broken, Records, Stored
from quickstudy.formats.seen import one_series, seen_values, series_in
from quickstudy.formats.shown import Axis
from quickstudy.hints import Within, misfit
from quickstudy.masked import mean_and_spread
from quickstudy.registry import formats
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.units import Units

_FAR = 10  # spreads
_FURTHEST = 100_000  # values that are forecast


@formats.register("series")
@dataclass(frozen=True, kw_only=True)
class Series(Format):
    """Windows (n, window, 2) of one series, each with the one value that follows; a series is its own labels.

    window: how many values before a point are shown at most, each with a mask channel. normalise: values are shown less
    the mean of the seen part of the series, in units of its spread. As files: a CSV file whose first line names the
    columns; every other line is one point, in the order of time. series, value: the columns of the series' names and
    of the values. wide: each column of numbers is a series of its own instead, and a line holds one point of each.
    """

    window: int = 16
    normalise: bool = True
    series: str = "series"
    value: str = "value"
    wide: bool = False

    what = "time series"
    medium = "series"
    place = "point"
    labels_itself = True
    rolls = True

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"window must be at least 1, found {self.window}: a forecast needs a value before it.")
        for name in ("normalise", "wide"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False, found {getattr(self, name)!r}.")

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"x": Leaf((self.window, 2))}

    def __str__(self) -> str:
        return f"time series, of which {self.window} values are seen at once"

    def find(self, place: str | Path | Sequence[str | Path], labelled: bool = True) -> Records:
        """One item a series: its values, in the order of the file. A file without a column of names is one series."""
        return series_in(place, self.wide, self.series, self.value, labelled)

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        """The seen values of one series (length,) as float64."""
        return Stored(seen_values(records, self.normalise), [0], [])

    def prolonged(self, stored: Features, records: Any) -> Features:
        """The values (length,) with those that followed them."""
        assert isinstance(stored, Tensor)
        further = one_series(records)
        return self.store([*stored.tolist(), *(further.tolist() if hasattr(further, "tolist") else further)]).x

    def trial(self, count: int) -> Features:
        return torch.zeros(count, dtype=torch.float64)

    def prepare(self, stored: Features, known: Tensor | None = None) -> State:
        """'mean' and 'spread' (…, 1) of the values (…, n), of those that are `known` (…, n) bool.

        0 and 1 where values are left as they are; a constant series has spread 1.
        """
        assert isinstance(stored, Tensor)
        if not self.normalise:
            lead = (*stored.shape[:-1], 1)
            return {"mean": stored.new_zeros(lead), "spread": stored.new_ones(lead)}
        known = torch.ones_like(stored, dtype=torch.bool) if known is None else known
        mean, spread = mean_and_spread(stored, known, dim=-1)
        return {"mean": mean, "spread": torch.where(spread > 0, spread, 1.0)}

    def units(self, fitted: State) -> Units | None:
        return Units(fitted["mean"], fitted["spread"]) if fitted else None

    def scaled(self, values: Tensor, fitted: State) -> Tensor:
        """Values (…, n) in a task's own units."""
        return (values - fitted["mean"]) / fitted["spread"]

    def windows(self, values: Tensor, points: Tensor) -> Tensor:
        """What is known before each of `points` (…, k) int64 of the series (…, n): (…, k, window, 2).

        The last axis holds a value and a mask: 1, or 0 before the first point of the series, where the value is 0.
        """
        at = points[..., None] - self.window + torch.arange(self.window, device=points.device)
        there = at >= 0
        seen = values.gather(-1, at.clamp(min=0).flatten(-2)).reshape(at.shape)
        return torch.stack([seen * there, there.to(values.dtype)], dim=-1)

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        """The windows before every point but the first of one series (length,)."""
        assert isinstance(stored, Tensor)
        scaled = self.scaled(stored, fitted or self.prepare(stored)).to(torch.float32)
        return self.windows(scaled, torch.arange(1, len(stored), device=stored.device))

    def examples(self, stored: Features, labels: Any, fitted: State) -> tuple[Features, Any]:
        """Every point but the first of the seen values (length,): its window, and it."""
        if labels is not None:
            raise DataError(
                "A time series needs no labels: its own values are what is to be forecast. Call run.adapt(values)."
            )
        assert isinstance(stored, Tensor)
        return self.features(stored, fitted), self.scaled(stored, fitted).to(torch.float32)[1:, None]

    def ask(
        self, predict: Callable[[Features], Distribution], stored: Features, fitted: State, **asked: Any
    ) -> Distribution:
        """The `steps` values (1 if not said) that follow the seen ones (length,); each forecast is fed back.

        The series may have gone on since it was learned. Values are in the task's units, float64: (steps,).
        """
        steps = _steps(asked.pop("steps", 1))
        if asked:
            return super().ask(predict, stored, fitted, **asked)
        assert isinstance(stored, Tensor)
        values = self.scaled(stored, fitted)
        for _ in range(steps):
            end = torch.tensor([values.shape[-1]], device=values.device)
            values = torch.cat([values, predict(self.windows(values, end)).mean[:, 0].to(values)])
        return Distribution(values[len(stored) :])

    def reading(self, fitted: State) -> dict[str, Any]:
        return {"kind": "series", "window": self.window, "value": self.value, "series": self.series}

    def entering(self, stored: Features, fitted: State) -> dict[str, Tensor]:
        """The values before each point but the first, and before the one that follows: (length, window), NaN where
        there is none."""
        assert isinstance(stored, Tensor)
        lead = stored.new_full((self.window - 1,), torch.nan)
        return {"x": torch.cat([lead, stored]).unfold(0, self.window, 1)}

    def entered(self, given: Mapping[str, Tensor], fitted: State) -> Features:
        values = only(given)
        there = values.isfinite()
        seen = torch.where(there, self.scaled(values, fitted), 0.0)
        return torch.stack([seen, there.to(values.dtype)], dim=-1)

    def tried(self, key: Tensor, count: int, fitted: State) -> dict[str, Tensor]:
        walks = rng.normal(rng.fold(key, 0), (count, self.window)).cumsum(-1).double()
        there = torch.arange(self.window) >= self.window - shares(rng.fold(key, 1), count, self.window)[:, None]
        values = fitted["mean"].cpu() + fitted["spread"].cpu() * walks / self.window**0.5
        return {"x": torch.where(there, values, torch.nan)}

    def rolled(self, predict: Callable[[Features], Tensor], x: Features) -> Tensor:
        """Forecasts (n, 1), of which each is fed back, from what lies before the first of n points in a row."""
        window, said = leaves(x)[0][:1], list[Tensor]()
        for _ in range(len(leaves(x)[0])):
            said.append(predict(window))
            further = torch.stack([said[-1].to(window), torch.ones_like(said[-1]).to(window)], -1)
            window = torch.cat([window[:, 1:], further], 1)
        return torch.cat(said)

    def parted(self, stored: Features, **asked: Any) -> tuple[Features, Tensor, Tensor]:
        """The last `steps` values (1 if not said), what comes before them, and its last value again and again."""
        steps = _steps(asked.get("steps", 1))
        assert isinstance(stored, Tensor)
        if len(stored) < steps + 2:
            raise DataError(
                f"There are {len(stored)} values, but to measure a forecast of {steps}, {steps + 2} are the fewest: "
                "two that are seen and those that follow. Give more, or ask for fewer steps."
            )
        seen, rest = stored[:-steps], stored[-steps:]
        return seen, rest, seen[-1:].expand_as(rest)

    def doubts(self, stored: Features, fitted: State) -> str:
        assert isinstance(stored, Tensor)
        if float((self.scaled(stored, fitted).abs() > _FAR).double().mean()) <= 0.5:
            return ""
        return (
            f"Most of the seen values lie more than {_FAR} spreads from those that the model has learned: they seem to "
            "be of another series. Adapt to it first."
        )

    def answered(self, names: Sequence[str], **asked: Any) -> list[str]:
        return [f"{name} +{step}" for name in names for step in range(1, asked.get("steps", 1) + 1)]

    @property
    def example(self) -> str:
        return "point"

    @property
    def whole(self) -> str:
        return "series"

    def draw(self, x: Features) -> Drawing | None:
        assert isinstance(x, Tensor)
        return Curve(x[x[:, 1] > 0.5, 0].tolist())

    def axis(self, support: Features, query: Features) -> Axis | None:
        """One after another: the first point, before which there is nothing, is no example."""
        seen, asked = len(leaves(support)[0]), len(leaves(query)[0])
        time = torch.arange(1, 1 + seen + asked)
        return Axis("time", time[:seen], time[seen:], "Each forecast is made from the true values before it.")


def _steps(given: Any) -> int:
    """How many values are asked for; ConfigError for what is no such number."""
    if wrong := misfit(given, Annotated[int, Within(1, _FURTHEST)], "steps"):
        raise ConfigError(f"{wrong}: it is how many values to forecast. Give another number.")
    steps: int = given
    return steps

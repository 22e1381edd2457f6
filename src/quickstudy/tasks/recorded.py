"""Forecasting tasks from time series of your own, in memory or in a CSV file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import leaves
from quickstudy.errors import DataError
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.divide import split_classes
from quickstudy.tasks.series import SeriesSource

_log = logging.getLogger("quickstudy")
_CHOICE, _START = 2, 3  # beside the keys of SeriesSource


@dataclass(frozen=True, kw_only=True)
class RecordedSeries(SeriesSource):
    """Each task is a stretch of one recorded series, from a point drawn at random.

    data: the values of all series in a row; of each less its mean, in units of its spread, so that float32 holds them.
    starts, counts: (S,) int64, where each begins and how many points it has. splits: the series of each split.
    """

    data: Tensor
    starts: Tensor
    counts: Tensor
    splits: Mapping[str, Tensor]
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> RecordedSeries:
        moved = {name: getattr(self, name).to(device) for name in ("data", "starts", "counts")}
        return replace(self, **moved, splits={split: ids.to(device) for split, ids in self.splits.items()})

    def check(self, split: str) -> None:
        self.known(split)
        ids = self.splits[split]
        if not len(ids):
            raise DataError(f"The split {split!r} has no series. Add some, or raise its share.")
        least = int(ids[self.counts[ids].argmin()])
        if int(self.counts[least]) < self.points:
            raise DataError(
                f"The series {self.names[least]!r} of the split {split!r} has {int(self.counts[least])} points, but "
                f"1 point to start from + {self.sampling.shots} shots + {self.sampling.queries} queries need "
                f"{self.points}. Record more, lower shots or queries, or leave that series out."
            )

    def classes(self, split: str) -> list[str]:
        """The names of the series: like classes, one that was trained on is not a new one."""
        return [self.names[index] for index in self.splits[split].tolist()]

    def values(self, split: str, indices: Tensor) -> Tensor:
        self.check(split)
        device = self.data.device
        keys = rng.fold(rng.key(self.seed, split, device=device), indices.to(device))
        chosen = self.splits[split][rng.integers(rng.fold(keys, _CHOICE), len(self.splits[split]))]
        start = rng.integers(rng.fold(keys, _START), self.counts[chosen] - self.points + 1)
        at = (self.starts[chosen] + start)[:, None] + torch.arange(self.points, device=device)
        return self.data[at]


def recorded(
    data: Mapping[str, Any],
    *,
    window: int = 16,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    units: str = "",
    **columns: Any,
) -> RecordedSeries:
    """Forecasting tasks over time series in memory, one for each machine, customer, sensor, …

    data: the values (length,) of each series by its name, equally spaced in time; lengths may differ. A constant series
        is kept, and a warning names it.
    window: how many past values an input shows at most. val, test: shares of the series held out, at random by
    `split_seed`. units: of the values, for reports. columns: what they are called where the format reads files:
    `series`, `value` and `wide`.

    Raises DataError, naming the series, for NaN, fewer than two points, or too few series.
    """
    format = formats.make("series", window=window, **columns)
    parts: list[Tensor] = []
    for name, values in data.items():
        try:
            (known,) = leaves(format.store(values).x)
        except DataError as error:
            raise DataError(f"The series {name!r}: {error}") from error
        spread = float(known.std(correction=0))
        if bool((known == known[0]).all()):
            _log.warning("The series %r is constant (%g): it teaches to repeat the last value.", name, float(known[0]))
            spread = 1.0
        parts.append(((known - known.mean()) / spread).to(torch.float32))
    splits = split_classes(len(parts), val, test, split_seed, least=1)
    counts = torch.tensor([len(part) for part in parts])
    return RecordedSeries(
        data=torch.cat(parts),
        starts=counts.cumsum(0) - counts,
        counts=counts,
        splits=splits,
        names=tuple(data),
        spec=TaskSpec(format, targets.make("numbers", units=units)),
    )


@sources.register("series_csv", data="a CSV file of time series", places=("path",))
def series_csv(
    *,
    path: str,
    series: str = "series",
    value: str = "value",
    wide: bool = False,
    window: int = 16,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    units: str = "",
) -> RecordedSeries:
    """Your own time series: a CSV file with a column of names and one of values.

    The first line names the columns. Every other line is one point: the name of its series, and its value. The points
    of a series stand in the order of time, equally spaced. Series may differ in length; other columns are ignored. With
    `wide` each column of numbers is a series of its own, called as it is, and each line one point of all.

    path: the file, in UTF-8, with commas, semicolons or tabs. series, value: the names of the two columns.
    wide: each column of numbers is a series. window: how many past values an input shows at most. units: of the values,
    for reports.
    val, test: shares of the series held out, at random by `split_seed`. split_seed: of the random choice.

    Raises DataError, naming file and line, for a value that is missing, NaN or no number.
    """
    columns = {"series": series, "value": value, "wide": wide}
    rows = formats.make("series", window=window, **columns).find(path)
    data = dict(zip(rows.names, rows.items, strict=True))
    return recorded(data, window=window, val=val, test=test, split_seed=split_seed, units=units, **columns)

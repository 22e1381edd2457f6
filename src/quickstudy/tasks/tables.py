"""Regression tasks from examples in memory: one small data set each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, TaskSpec
from quickstudy.errors import DataError, ShapeError
from quickstudy.tasks.arrays import as_features, split_classes
from quickstudy.tasks.base import Sampling, Source, presence

_TASK, _ITEMS, _SIZES = range(3)
_SAMPLING = Sampling(ways=1, shots=10, queries=10)


@dataclass(frozen=True, kw_only=True)
class TableSource(Source):
    """Each task is K + Q rows of one data set. x: (n, *features), y: (n, *target), the rows of all data sets in a row.

    starts, counts: (D,) int64, the run of each data set. splits: the data sets (S,) of each split.
    """

    x: Tensor
    y: Tensor
    starts: Tensor
    counts: Tensor
    splits: Mapping[str, Tensor]
    names: tuple[str, ...]
    spec: TaskSpec
    sampling: Sampling = _SAMPLING
    seed: int = 0

    def sampled(self, sampling: Sampling) -> TableSource:
        return replace(self, sampling=replace(sampling, ways=1, min_ways=None))

    def seeded(self, seed: int) -> TableSource:
        return replace(self, seed=seed)

    def to(self, device: torch.device | str) -> TableSource:
        moved = {name: getattr(self, name).to(device) for name in ("x", "y", "starts", "counts")}
        return replace(self, **moved, splits={split: ids.to(device) for split, ids in self.splits.items()})

    def check(self, split: str) -> None:
        self.known(split)
        ids, need = self.splits[split], self.sampling.shots + self.sampling.queries
        if not len(ids):
            raise DataError(f"The split {split!r} has no data sets. Add some, or raise its share.")
        least = int(ids[self.counts[ids].argmin()])
        if int(self.counts[least]) < need:
            raise DataError(
                f"The data set {self.names[least]!r} of the split {split!r} has {int(self.counts[least])} rows, but "
                f"{self.sampling.shots} shots + {self.sampling.queries} queries need {need}. Add rows or lower them."
            )

    def classes(self, split: str) -> list[str]:
        """The names of the data sets: like classes, one that was trained on is not a new one."""
        return [self.names[index] for index in self.splits[split].tolist()]

    def episodes(self, split: str, indices: Tensor) -> Episode:
        self.check(split)
        device, shots = self.x.device, self.sampling.shots
        keys = rng.fold(rng.key(self.seed, split, device=device), indices.to(device))
        chosen = self.splits[split][rng.integers(rng.fold(keys, _TASK), len(self.splits[split]))]
        rows = rng.choose(rng.fold(keys, _ITEMS), self.counts[chosen], shots + self.sampling.queries)
        rows = rows + self.starts[chosen, None]
        _, given = presence(self.sampling, rng.fold(keys, _SIZES))
        support, query = rows[:, :shots], rows[:, shots:]
        return Episode(
            Examples(self.x[support], self.y[support], torch.arange(shots, device=device) < given),
            Examples(self.x[query], self.y[query], torch.ones_like(query, dtype=torch.bool)),
        )


def tables(
    tasks: Mapping[str, tuple[Any, Any]] | Sequence[tuple[Any, Any]],
    *,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    units: str = "",
) -> TableSource:
    """Regression tasks over data sets in memory, one for each machine, customer, assay, …

    tasks: (x, y) of each, with x (n, *features) and y (n, *target) or (n,), which becomes (n, 1); n may differ. A
        mapping names them.
    val, test: shares of the data sets held out, at random by `split_seed`. units: of y, for reports.

    Raises ShapeError where lengths or features do not fit, DataError for NaN or too few data sets.
    """
    named = dict(tasks) if isinstance(tasks, Mapping) else {f"task {i}": pair for i, pair in enumerate(tasks)}
    x: list[Tensor] = []
    y: list[Tensor] = []
    for name, (inputs, targets) in named.items():
        x.append(as_features(inputs, f"x of {name}"))
        y.append(as_features(targets, f"y of {name}", features=False).float())
        y[-1] = y[-1][:, None] if y[-1].dim() == 1 else y[-1]
        if len(x[-1]) != len(y[-1]):
            raise ShapeError(f"{name} has {len(x[-1])} rows of x but {len(y[-1])} of y. Give one target for each row.")
        for found, first, label in ((x[-1], x[0], "x"), (y[-1], y[0], "y")):
            if found.shape[1:] != first.shape[1:]:
                raise ShapeError(
                    f"One {label} of {name} has shape {tuple(found.shape[1:])}, but {tuple(first.shape[1:])} in "
                    f"{next(iter(named))}. Give every data set the same columns."
                )
    splits = split_classes(len(named), val, test, split_seed, least=1)
    counts = torch.tensor([len(t) for t in x])
    return TableSource(
        x=torch.cat(x).float(),
        y=torch.cat(y),
        starts=counts.cumsum(0) - counts,
        counts=counts,
        splits=splits,
        names=tuple(named),
        spec=TaskSpec("regression", tuple(x[0].shape[1:]), target_shape=tuple(y[0].shape[1:]), units=units),
    )

"""Tasks of numbers from examples in memory: one small data set each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, Features, leaves, map_features
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.fitted import fitted_features
from quickstudy.formats.numeric import as_numbers, has_names, items_of
from quickstudy.formats.records import say
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.base import Target
from quickstudy.tasks.base import Sampling, Source, presence
from quickstudy.tasks.divide import split_classes

_TASK, _ITEMS, _SIZES = range(3)
_SAMPLING = Sampling(ways=1, shots=10, queries=10)


@dataclass(frozen=True, kw_only=True)
class TableSource(Source):
    """Each task is K + Q rows of one data set. x: (n, …) as the format stores it, y: (n, *label), of all data sets.

    starts, counts: (D,) int64, the run of each data set. splits: the data sets (S,) of each split.
    """

    x: Features
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
        moved = {name: getattr(self, name).to(device) for name in ("y", "starts", "counts")}
        splits = {split: ids.to(device) for split, ids in self.splits.items()}
        return replace(self, x=map_features(lambda t: t.to(device), self.x), splits=splits, **moved)

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
        device, shots = self.y.device, self.sampling.shots
        keys = rng.fold(rng.key(self.seed, split, device=device), indices.to(device))
        chosen = self.splits[split][rng.integers(rng.fold(keys, _TASK), len(self.splits[split]))]
        rows = rng.choose(rng.fold(keys, _ITEMS), self.counts[chosen], shots + self.sampling.queries)
        rows = rows + self.starts[chosen, None]
        _, given = presence(self.sampling, rng.fold(keys, _SIZES))
        support, query = rows[:, :shots], rows[:, shots:]
        seen = torch.arange(shots, device=device) < given
        stored = (map_features(lambda t, part=part: t[part], self.x) for part in (support, query))
        x, asked = fitted_features(self.spec.format, next(stored), seen, next(stored))
        return Episode(
            Examples(x, self.y[support], seen),
            Examples(asked, self.y[query], torch.ones_like(query, dtype=torch.bool)),
        )


def tables(
    tasks: Mapping[str, tuple[Any, Any]] | Sequence[tuple[Any, Any]],
    *,
    format: Format | None = None,
    target: Target | None = None,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    units: str = "",
    exclude: Sequence[str] = (),
    categories: Sequence[str] = (),
) -> TableSource:
    """Tasks of numbers over data sets in memory, one for each machine, customer, assay, …

    tasks: (x, y) of each, with x (n, *features) and y (n, *target) or (n,), which becomes (n, 1); n may differ. A
        mapping names them.
    format: what x is; if not given, columns where they have names, see `Table`, in the order of the first data set's,
        or numbers of their shape. What the columns are is learned from the data sets of training. target: what y is;
        numbers, in `units`, if not given.
    exclude, categories: of named columns, those to leave out, and those that hold categories though they look like
        numbers.
    val, test: shares of the data sets held out, at random by `split_seed`. units: of y, for reports.

    Raises ShapeError where lengths or features do not fit, DataError for NaN or too few data sets.
    """
    named = dict(tasks) if isinstance(tasks, Mapping) else {f"task {i}": pair for i, pair in enumerate(tasks)}
    x: list[Features] = []
    y: list[Tensor] = []
    if format is None and named and has_names(next(iter(named.values()))[0]):
        format = formats.make("table", exclude=tuple(exclude), categories=tuple(categories))
    elif exclude or categories:
        raise ConfigError(
            "exclude and categories name columns, and x has no named ones. Give data frames, or drop them."
        )
    if format is not None and format.learns:
        training = split_classes(len(named), val, test, split_seed, least=1)["train"].tolist()
        each = list(named.values())
        format = format.learn([row for i in training for row in items_of(each[i][0])])
    for name, (inputs, labels) in named.items():
        if format is None:
            x.append(as_numbers(inputs, f"x of {name}"))
        else:
            stored = format.store(inputs)
            say(stored.notices)
            x.append(stored.x)
            format = format.fitting(x[-1], inputs)  # the first says how many columns there are, and in which order
        y.append(_labels(labels, target, name))
        rows = len(leaves(x[-1])[0])
        if rows != len(y[-1]):
            raise ShapeError(f"{name} has {rows} rows of x but {len(y[-1])} of y. Give one label for each row.")
        for one, first, label in ((x[-1], x[0], "x"), (y[-1], y[0], "y")):
            sizes, others = ([tuple(t.shape[1:]) for t in leaves(part)] for part in (one, first))
            if sizes != others:
                raise ShapeError(
                    f"One {label} of {name} has shape {sizes[0]}, but {others[0]} in {next(iter(named))}. Give every "
                    "data set the same columns."
                )
    together = map_features(lambda *t: torch.cat(t), *x)
    if format is None:
        shape = tuple(leaves(together)[0].shape[1:])
        format = formats.make("table", columns=shape[0]) if len(shape) == 1 else formats.make("array", shape=shape)
    target = target or targets.make("numbers", shape=tuple(y[0].shape[1:]), units=units)
    groups = [name for name, labels in zip(named, y, strict=True) for _ in range(len(labels))]
    return dataset_source(format, target, together, torch.cat(y), groups, val, test, split_seed)


def _labels(labels: Any, target: Target | None, name: str) -> Tensor:
    """y (n, *label) of one data set."""
    if target is not None:
        return target.encode(labels)[0]
    y = as_numbers(labels, f"y of {name}", features=False).float()
    return y[:, None] if y.dim() == 1 else y


def dataset_source(
    format: Format,
    target: Target,
    x: Features,
    y: Tensor,
    groups: Sequence[str],
    val: float,
    test: float,
    split_seed: int,
) -> TableSource:
    """The source over stored x (n, …) with labels y (n, *label), of which the rows of one group are one data set."""
    names = list(dict.fromkeys(groups))
    number = {name: i for i, name in enumerate(names)}
    ids = torch.tensor([number[group] for group in groups], dtype=torch.int64)
    order, counts = ids.argsort(stable=True), torch.bincount(ids, minlength=len(names))
    return TableSource(
        x=map_features(lambda t: t[order], x),
        y=y[order],
        starts=counts.cumsum(0) - counts,
        counts=counts,
        splits=split_classes(len(names), val, test, split_seed, least=1, what="tasks"),
        names=tuple(names),
        spec=TaskSpec(format, target),
    )

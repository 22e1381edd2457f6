"""Ordinary classification over all classes at once, as tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, Features, map_features
from quickstudy.errors import ConfigError
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.classes import AUGMENT, ITEMS, SYMMETRY, ClassSource
from quickstudy.tasks.wrapped import Wrapped


@dataclass(frozen=True, kw_only=True)
class PooledSource(Wrapped):
    """One large task instead of many small ones: an empty support set, and a query batch over *all* classes of a split.

    With it, ordinary supervised training (of the encoder behind a baseline) is the same loop as meta-training.
    """

    source: ClassSource
    batch: int

    @property
    def inner(self) -> ClassSource:
        return self.source

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        classes = len(self.source.splits["train"]) * self.source.symmetries_of("train")
        return Sampling(ways=classes, shots=0, queries=1)

    @property
    def spec(self) -> TaskSpec:  # type: ignore[override]
        return self.source.spec.at(self.sampling.ways)

    def around(self, change: Callable[[Source], Source]) -> PooledSource:
        changed = change(self.source)
        assert isinstance(changed, ClassSource)
        return replace(self, source=changed)

    def sampled(self, sampling: Sampling) -> PooledSource:
        raise ConfigError("A pooled source has no ways and shots to change; change the source it was made from.")

    def check(self, split: str) -> None:
        self.known(split)  # the ways and shots that the inner source is asked for mean nothing here

    def _of_the_batch(self, stored: Features) -> Features:
        """Features with what the batch itself teaches, as there is no support set."""
        format = self.spec.format
        return format.features(stored, format.prepare(stored))

    def arms(self, split: str) -> list[str]:
        """None: a batch is of all classes."""
        return []

    def class_names(self, split: str, index: int) -> list[str]:
        """Of all classes of the split: every episode has them all."""
        source, turns = self.source, range(self.source.symmetries_of(split))
        return [source.named(int(c), turn) for c in source.table(split).classes for turn in turns]

    def episodes(self, split: str, indices: Tensor) -> Episode:
        source, tasks = self.source, len(indices)
        table, turns = source.table(split), source.symmetries_of(split)
        keys = rng.fold(rng.key(source.seed, "pooled", split, device=source.device), indices.to(source.device))
        ends = source.pool.counts[table.classes].cumsum(0)
        row = rng.integers(rng.fold(keys, ITEMS), int(ends[-1]), (self.batch,))
        position = torch.searchsorted(ends, row, right=True)
        turn = rng.integers(rng.fold(keys, SYMMETRY), turns, (self.batch,))
        classes = table.classes[position]
        items = row - (ends[position] - source.pool.counts[classes])
        drawing = source.augmentation_keys(split, rng.fold(keys, AUGMENT), self.batch)
        x = source.examples(
            split,
            classes.flatten(),
            items.flatten(),
            turn.flatten() if turns > 1 else None,
            None if drawing is None else drawing.flatten(),
            self._of_the_batch if self.spec.format.prepares else None,
        )
        x = map_features(lambda t: t.reshape(*classes.shape, *t.shape[1:]), x)
        nothing = torch.zeros((tasks, 0), dtype=torch.int64, device=source.device)
        support = Examples(map_features(lambda t: t[:, :0], x), nothing, nothing.bool())
        return Episode(support, Examples(x, position * turns + turn, torch.ones_like(position, dtype=torch.bool)))

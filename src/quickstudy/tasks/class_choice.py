"""Which classes a task is made of: of all alike, of a few groups, or of those below a node of a tree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.errors import DataError
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.pool import Pool, Table
from quickstudy.tasks.tree import Tree


@dataclass(frozen=True)
class ClassChoice:
    """table: the classes of a split. symmetries: how many each of them makes. groups: from how many a task's classes
    come; 0 draws from all classes alike. tree: all classes of a task are below one node of it, instead."""

    table: Table
    sampling: Sampling
    symmetries: int
    groups: int
    tree: Tree | None

    @property
    def _least_of_group(self) -> int:
        """How many classes a group must have; where ways vary, those of one group may be fewer than the ways."""
        return self.sampling.least_ways if self.groups == 1 else self.sampling.ways // self.groups

    def check(self, split: str) -> None:
        """DataError where there are too few classes for a task. split: what they are called."""
        classes, ways = self.table.classes, self.sampling.least_ways
        if self.tree is not None:
            if not len(self.tree.fitting(classes, ways)):
                raise DataError(
                    f"{ways}-way tasks need a node of the tree with {ways} classes of the split {split!r} below it, "
                    f"and there is none: the split has {len(classes)} classes. Lower the ways, or leave the tree out."
                )
        elif self.groups:
            self._check_groups(split)
        elif (total := len(classes) * self.symmetries) < ways:
            options = f"--ways {total}" + (f", or --train-ways {total} while training" if split == "train" else "")
            fewer = f"Lower the ways ({options}), or add" if total > 1 else "Add"
            raise DataError(
                f"{ways}-way tasks need {ways} classes, but the split {split!r} has {total}. {fewer} classes."
            )

    def _check_groups(self, split: str) -> None:
        each, sizes = self._least_of_group, self.table.group_sizes
        fits = int((sizes >= each).sum())
        if fits < self.groups:
            largest = int(sizes.max()) if len(sizes) else 0
            raise DataError(
                f"{self.groups * each}-way tasks from {self.groups} group(s) need as many groups of {each} classes, "
                f"but the split {split!r} has {fits} such groups; its largest group has {largest} classes. "
                "Lower the ways (--ways, or --train-ways while training), or add classes."
            )

    def draw(self, keys: Tensor, turning: Tensor) -> tuple[Tensor, Tensor | None]:
        """Class ids (T, N) and their symmetries (T, N), None where there are none, by keys (T,) of each."""
        table, ways, turns = self.table, self.sampling.ways, self.symmetries
        if self.tree is not None:
            below, _ = self.tree.draw(keys, table.classes, self.sampling.least_ways, ways)
            return below, None if turns == 1 else rng.integers(turning, turns, (1,)).expand(-1, ways)
        if not self.groups:
            drawn = rng.take(keys, torch.tensor(len(table.classes) * turns), ways)
            if turns == 1:
                return table.classes[drawn], None
            return table.classes[drawn // turns], drawn % turns
        each = ways // self.groups
        fits = (table.group_sizes >= self._least_of_group).nonzero().flatten()
        group = fits[rng.choose(keys, torch.tensor(len(fits)), self.groups)]
        per_group = rng.fold(keys[:, None], torch.arange(self.groups, device=keys.device))
        drawn = table.group_starts[group, None] + rng.take(per_group, table.group_sizes[group], each)
        if turns == 1:
            return table.classes[drawn.flatten(1)], None
        turn = rng.integers(turning, turns, (self.groups, 1)).expand(-1, -1, each)
        return table.classes[drawn.flatten(1)], turn.flatten(1)

    def most(self, classes: Tensor, keys: Tensor, pool: Pool) -> Tensor:
        """How many classes there are for each task (T,) of `classes` (T, N), which were drawn by keys (T,)."""
        table = self.table
        if self.tree is not None:
            return self.tree.draw(keys, table.classes, self.sampling.least_ways, self.sampling.ways)[1]
        if self.groups == 1:
            first = pool.groups[classes[:, :1]] == pool.groups[table.classes]
            return first.sum(1)
        return torch.full((len(classes),), len(table.classes) * self.symmetries, device=classes.device)

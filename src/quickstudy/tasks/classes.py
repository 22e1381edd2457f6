"""Classification tasks drawn from a pool of classes: N classes, K support and Q query examples of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, Features, joined, map_features
from quickstudy.errors import DataError, unknown_name
from quickstudy.formats.base import Format
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.fitted import fitted_features
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source, masks
from quickstudy.tasks.class_choice import ClassChoice
from quickstudy.tasks.groups import Drawn, Groups
from quickstudy.tasks.pool import Pool, Table
from quickstudy.tasks.tree import Tree

_SAMPLING, _PLAIN = Sampling(), Distortion()
_PURPOSES = 5
_NAMED = 5  # classes in a text
_CLASSES, ITEMS, _SIZES, SYMMETRY, AUGMENT = range(_PURPOSES)
"""The keys of a task by their purpose."""


@dataclass(frozen=True, kw_only=True)
class ClassSource(Source):
    """Tasks over the classes of a pool.

    splits: class ids (C,) of 'train', 'val' and 'test'. within: all classes of a task come from one group.
    symmetries: 4 adds every class turned by 90, 180 and 270 degrees as classes of their own, 8 their mirror images too
    (with `within`, whole groups are turned); only `symmetric_splits` are treated so. augmentation: applied to
    examples of the `augmented_splits` only. records: which group each record of the pool belongs to, and what tasks
    make of that. tree: all classes of a task are below one node of it.
    """

    pool: Pool
    splits: Mapping[str, Tensor]
    spec: TaskSpec
    sampling: Sampling = _SAMPLING
    seed: int = 0
    within: bool = False
    symmetries: int = 1
    symmetric_splits: tuple[str, ...] = ("train", "val", "test")
    augmentation: Distortion = _PLAIN
    augmented_splits: tuple[str, ...] = ("train",)
    records: Groups | None = None
    tree: Tree | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        self.spec.format.require_distortions(self.augmentation, self.symmetries)

    @cached_property
    def _tables(self) -> dict[str, Table]:
        return {split: Table.of(ids.to(self.device), self.pool) for split, ids in self.splits.items()}

    @cached_property
    def _checked(self) -> set[str]:
        """The splits that `check` has passed: drawing 5 of 4 classes would go wrong without an error."""
        return set()

    def table(self, split: str) -> Table:
        """The classes of a split; ConfigError where there is no such."""
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        return self._tables[split]

    @property
    def repeats(self) -> bool:
        return self.pool.repeats

    def symmetries_of(self, split: str) -> int:
        """How many classes each class of the pool makes in a split."""
        return self.symmetries if split in self.symmetric_splits else 1

    def sampled(self, sampling: Sampling) -> ClassSource:
        return replace(self, sampling=sampling, spec=self.spec.at(sampling.ways))

    def seeded(self, seed: int) -> ClassSource:
        return replace(self, seed=seed)

    def plain(self) -> ClassSource:
        return replace(self, augmentation=_PLAIN)

    def seen_as(self, format: Format) -> ClassSource:
        if format == self.spec.format:
            return self
        return replace(self, pool=self.pool.seen_as(format), spec=replace(self.spec, format=format))

    def only_for(self, split: str) -> ClassSource:
        every = torch.cat(list(self.splits.values())).unique()  # type: ignore[no-untyped-call]
        return replace(self, splits={split: every})

    def to(self, device: torch.device | str) -> ClassSource:
        records = None if self.records is None else self.records.to(device)
        tree = None if self.tree is None else self.tree.to(device)
        return replace(self, pool=self.pool.to(device), records=records, tree=tree, device=torch.device(device))

    def check(self, split: str) -> None:
        table, size = self.table(split), self.sampling
        need = size.least_shots + size.queries
        if not len(table.classes):
            raise DataError(
                f"The split {split!r} has no classes: none were held out for it. Hold some out, and train anew."
            )
        self._choice(split).check(split)
        if self.records is not None:
            self.records.check(split, table.classes, self.pool, size.shots)
        counts = self.pool.counts[table.classes]
        least = int(counts.argmin())
        if int(counts[least]) < need:
            short = int((counts < need).sum())
            name = self.pool.name(int(table.classes[least]))
            raise DataError(
                f"Class {name!r} of the split {split!r} has {int(counts[least])} examples, but {size.least_shots} "
                f"shots + {size.queries} queries need {need}"
                + (f" ({short} classes are too small)" if short > 1 else "")
                + f". Add examples, lower the shots or queries, or leave small classes out (--tasks.min-class {need})."
            )

    def _choice(self, split: str) -> ClassChoice:
        """How the classes of a task are drawn."""
        size = self.sampling
        groups = int(self.within) if size.groups is None else size.groups
        return ClassChoice(self.table(split), size, self.symmetries_of(split), groups, self.tree)

    def _draw(self, split: str, indices: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys for each purpose (5, T), class ids (T, N) and symmetries (T, N) of the tasks; None where none are."""
        ways, turns = self.sampling.ways, self.symmetries_of(split)
        keys = rng.fold(rng.key(self.seed, split, device=self.device), indices.to(self.device))
        keys = rng.split(keys, _PURPOSES).T.contiguous()
        if self.records is not None and self.records.rule == "within":
            own = self._of_groups(self.records, split, keys).classes
            return keys, own, None if turns == 1 else rng.integers(keys[SYMMETRY], turns, (ways,))
        return keys, *self._choice(split).draw(keys[_CLASSES], keys[SYMMETRY])

    def _of_groups(self, groups: Groups, split: str, keys: Tensor, classes: Tensor | None = None) -> Drawn:
        known = None if groups.rule == "within" else classes
        return groups.draw(keys[ITEMS], self.table(split).classes, known, self.pool, self.sampling)

    def episodes(self, split: str, indices: Tensor) -> Episode:
        if split not in self._checked:
            self.check(split)
            self._checked.add(split)
        size = self.sampling
        tasks, ways, shots, queries = len(indices), size.ways, size.shots, size.queries
        keys, classes, turns = self._draw(split, indices)
        each = shots + queries
        if self.records is None:
            # What a class has too few of are shots, so queries come first.
            draw, even = rng.split(keys[ITEMS], ways), self._even(split)
            items, there = (rng.choose if even else rng.take)(draw, self.pool.counts[classes], each), None
            items = items if even else items.roll(shots, -1)
        else:
            _, items, there = self._of_groups(self.records, split, keys, classes)

        def parts(t: Tensor) -> Tensor:
            """All support examples, then all query examples, so that neither is copied again."""
            t = t.expand(tasks, ways, each)
            return torch.cat([t[..., :shots].flatten(), t[..., shots:].flatten()])

        drawing = self.augmentation_keys(split, keys[AUGMENT], ways * each)
        seen, asked = masks(size, keys[_SIZES], *(self._limits(split, keys, classes) if size.varies else ()))
        asked = asked if there is None else asked & there
        x = self.examples(
            split,
            parts(classes[..., None]),
            parts(items),
            None if turns is None else parts(turns[..., None]),
            None if drawing is None else parts(drawing.view(tasks, ways, each)),
            partial(self._fitted, seen.flatten(1)) if self.spec.format.prepares else None,
        )
        y = torch.arange(ways, device=self.device)[:, None]

        def part(own: slice, count: int, mask: Tensor) -> Examples:
            flat = (tasks, ways * count)
            mine = map_features(lambda t: t[own].view(*flat, *t.shape[1:]), x)
            return Examples(mine, y.expand(tasks, ways, count).reshape(flat), mask.reshape(flat))

        first = tasks * ways * shots
        return Episode(part(slice(first), shots, seen), part(slice(first, None), queries, asked))

    def _even(self, split: str) -> bool:
        """Whether every class has examples for all shots and queries."""
        size, classes = self.sampling, self.table(split).classes
        return not size.varies or int(self.pool.counts[classes].min()) >= size.shots + size.queries

    def _limits(self, split: str, keys: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """How many classes there are for each task (T,), and how many examples of each may be shots (T, N)."""
        most = self._choice(split).most(classes, keys[_CLASSES], self.pool)
        return most, self.pool.counts[classes] - self.sampling.queries

    def augmentation_keys(self, split: str, keys: Tensor, count: int) -> Tensor | None:
        """A key for each of the `count` examples of each task, (T, count); None where nothing is augmented."""
        if split not in self.augmented_splits or not self.augmentation:
            return None
        return rng.split(keys, count)

    def _fitted(self, known: Tensor, stored: Features) -> Features:
        """Features of tasks whose support examples, of which `known` (T, n) are there, lie before all queries."""
        tasks, first = len(known), known.numel()
        support = map_features(lambda t: t[:first].view(*known.shape, *t.shape[1:]), stored)
        query = map_features(lambda t: t[first:].view(tasks, -1, *t.shape[1:]), stored)
        both = fitted_features(self.spec.format, support, known, query)
        return joined(*(map_features(lambda t: t.flatten(0, 1), part) for part in both))

    def examples(
        self,
        split: str,
        classes: Tensor,
        items: Tensor,
        turns: Tensor | None,
        keys: Tensor | None,
        features: Callable[[Features], Features] | None = None,
    ) -> Features:
        """Fetched, turned and (in training, by `keys`) augmented examples; all of shape (n,): (n, *features)."""
        format = self.spec.format
        make = features or format.features
        if keys is not None:
            plain, how = make, self.augmentation
            make = lambda stored: plain(format.disturbed(stored, keys, how))  # noqa: E731
        x = self.pool.fetch(classes, items, make)
        if turns is not None:
            x = format.turned(x, turns)
        return x if keys is None else format.distorted(x, keys, self.augmentation)

    def classes(self, split: str) -> list[str]:
        return self.pool.listed(self.splits[split].tolist()) if split in self.splits else []

    def _holding(self, split: str) -> str:
        ids = self.splits.get(split, torch.zeros(0, dtype=torch.int64)).to(self.pool.counts.device)
        if not len(ids):
            return "no classes"
        low, high = (int(end) for end in self.pool.counts[ids].aminmax())
        each = f"{low:,} examples" if low == high else f"{low:,} to {high:,} examples"
        names = self.pool.listed(ids[:_NAMED].tolist())
        more = ", …" if len(ids) > _NAMED else ""
        return f"{len(ids):,} classes of {each}: {', '.join(names) + more if names else 'made up as they are drawn'}"

    def arms(self, split: str) -> list[str]:
        return self.table(split).arms(self.pool)

    def arms_of(self, split: str, indices: Tensor) -> Tensor:
        return self.table(split).arms_of(self._draw(split, indices)[1])

    def class_names(self, split: str, index: int) -> list[str]:
        _, classes, turns = self._draw(split, torch.tensor([index]))
        return [self.named(int(c), 0 if turns is None else int(turns[0, i])) for i, c in enumerate(classes[0])]

    def named(self, number: int, turn: int) -> str:
        """What a class is called, turned by a symmetry or as it is."""
        return self.pool.name(number) + (f" (symmetry {turn})" if turn else "")

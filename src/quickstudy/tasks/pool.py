"""The examples of many classes, fetched by index on the device where they lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy.brief import Brief
from quickstudy.episode import Features, leaves, map_features
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.base import Format


class Pool(Brief, ABC):
    """C classes with `counts` (C,) examples each, in groups (alphabets, for instance): `groups` (C,) int64."""

    counts: Tensor
    groups: Tensor

    @abstractmethod
    def fetch(self, classes: Tensor, items: Tensor, features: Callable[[Features], Features] | None = None) -> Features:
        """The features of example `items` of class `classes`, two int64 tensors of one shape (*s): (*s, *features).

        features: makes them of compact tensors (n, …), where they depend on the task; the format's own if not given.
        Pools that make up their examples have no compact tensors.
        """

    @property
    def repeats(self) -> bool:
        """Whether two examples of a class may be one."""
        return False

    @abstractmethod
    def name(self, index: int) -> str:
        """The name of class `index`."""

    def listed(self, indices: Sequence[int]) -> list[str]:
        """The names of these classes; empty where classes are made up."""
        return [self.name(index) for index in indices]

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same pool on another device."""

    def seen_as(self, format: Format) -> Self:
        """The same pool with its examples as another format has them; ConfigError where they are made up."""
        raise ConfigError(
            f"These classes make up their examples, which cannot be made {format}. Give the source the options that "
            "make it alike."
        )


@dataclass(frozen=True)
class TensorPool(Pool):
    """Examples held as compact tensors, of which `format` makes features when they are fetched.

    x: (n, …) as the format stores them, in any order, in memory or mapped from a file. rows: (n,) int64, where each
    example lies in x, class after class. starts, counts: (C,) int64, the run of each class in rows.
    """

    format: Format
    x: Features
    rows: Tensor
    starts: Tensor
    counts: Tensor
    groups: Tensor
    names: tuple[str, ...]

    @classmethod
    def from_labels(
        cls,
        format: Format,
        x: Features,
        labels: Tensor,
        names: Sequence[str],
        groups: Sequence[str] | None = None,
    ) -> TensorPool:
        """Of x (n, …) and labels (n,) int64 in [0, len(names)); `groups` names each class's group."""
        for tensor in leaves(x):
            if labels.shape != tensor.shape[:1]:
                raise ShapeError(
                    f"labels has size {tuple(labels.shape)} but x has {tensor.shape[0]} examples along axis 0. "
                    "Give one label for each example."
                )
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                bad = int((~torch.isfinite(tensor.flatten(1)).all(dim=1)).nonzero()[0])
                raise DataError(f"x holds NaN or infinite values, first in example {bad}. Remove or fill them.")
        order = labels.argsort(stable=True)
        counts = torch.bincount(labels, minlength=len(names))
        group_of = list(groups) if groups is not None else [""] * len(names)
        number = {name: i for i, name in enumerate(dict.fromkeys(group_of))}
        return cls(
            format=format,
            x=x,
            rows=order,
            starts=counts.cumsum(0) - counts,
            counts=counts,
            groups=torch.tensor([number[g] for g in group_of], dtype=torch.int64),
            names=tuple(names),
        )

    def fetch(self, classes: Tensor, items: Tensor, features: Callable[[Features], Features] | None = None) -> Features:
        rows = self.rows[(self.starts[classes] + items).flatten()]
        x = (features or self.format.features)(map_features(lambda t: t.index_select(0, rows), self.x))
        return map_features(lambda t: t.reshape(*classes.shape, *t.shape[1:]), x)

    def name(self, index: int) -> str:
        return self.names[index]

    def seen_as(self, format: Format) -> TensorPool:
        return replace(self, format=format, x=format.brought(self.x, self.format))

    def to(self, device: torch.device | str) -> TensorPool:
        return replace(self, **self._moved(device))

    def _moved(self, device: torch.device | str) -> dict[str, Any]:
        moved = {f: getattr(self, f).to(device) for f in ("rows", "starts", "counts", "groups")}
        return moved | {"x": map_features(lambda t: t.to(device), self.x)}


@dataclass(frozen=True)
class RepeatedPool(TensorPool):
    """A pool whose classes may be asked for more examples than they have, and give some of them again.

    own: (C,) int64, how many they have; `counts` says how many may be asked for. Only augmentation, and symmetries,
    tell such examples apart.
    """

    own: Tensor

    @property
    def repeats(self) -> bool:
        return bool((self.own < self.counts).any())

    def fetch(self, classes: Tensor, items: Tensor, features: Callable[[Features], Features] | None = None) -> Features:
        return super().fetch(classes, items % self.own[classes], features)

    def to(self, device: torch.device | str) -> RepeatedPool:
        return replace(self, own=self.own.to(device), **self._moved(device))


@dataclass(frozen=True)
class Table:
    """The classes of a split, sorted by group, and the run of each group among them."""

    classes: Tensor
    group_starts: Tensor
    group_sizes: Tensor

    @classmethod
    def of(cls, ids: Tensor, pool: Pool) -> Table:
        groups = pool.groups[ids]
        order = groups.argsort(stable=True)
        _, sizes = groups[order].unique_consecutive(return_counts=True)  # type: ignore[no-untyped-call]
        return cls(ids[order], sizes.cumsum(0) - sizes, sizes)

    @property
    def _numbers(self) -> Tensor:
        """The arm of each class of the table, (C,): its group, where there are several, else itself."""
        several = len(self.group_sizes) > 1
        count = len(self.group_sizes) if several else len(self.classes)
        each = torch.arange(count, device=self.classes.device)
        return each.repeat_interleave(self.group_sizes) if several else each

    def arms(self, pool: Pool) -> list[str]:
        """The groups of classes, such as alphabets, by what stands before the last / in the names of their classes;
        where there is one group, the classes."""
        if len(self.group_sizes) < 2:
            return pool.listed(self.classes.tolist())
        first = pool.listed(self.classes[self.group_starts].tolist())
        return [name.rpartition("/")[0] or f"those with {name}" for name in first]

    def arms_of(self, classes: Tensor) -> Tensor:
        """Of which arm class ids of the table are, in the same shape."""
        at = classes.new_zeros(int(self.classes.max()) + 1)
        at[self.classes] = self._numbers
        return at[classes]

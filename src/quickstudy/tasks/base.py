"""The contract of a task source: episode i of a split is a pure function of (seed, split, i)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.brief import Brief
from quickstudy.episode import Episode, Params
from quickstudy.errors import ConfigError, first_of, unknown_name
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Film
from quickstudy.pages.notebook import card, lines
from quickstudy.spec import TaskSpec
from quickstudy.tasks.unequal import unequal

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Sampling:
    """The size of a task: N ways, K shots, Q queries per class (for regression K and Q count points; ways is unused).

    With `min_ways` or `min_shots` they vary: each task draws its ways in [min_ways, ways] and each class its shots in
    [min_shots, shots]; the tensors keep their full size and the mask says which examples exist.

    support: the most support examples of a task. With it the shots of classes are drawn unequally, at most K of each,
    as in Meta-Dataset; see `unequal`.

    groups: how many groups of the source (alphabets, for instance) the classes come from, equally many from each; None
    leaves it to the source. Classes of one group are hard to tell apart, several groups make tasks of many ways.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 15
    min_ways: int | None = None
    min_shots: int | None = None
    groups: int | None = None
    support: int | None = None

    def __post_init__(self) -> None:
        for name, low, high, least in (("ways", self.min_ways, self.ways, 2), ("shots", self.min_shots, self.shots, 1)):
            if high < (1 if name == "ways" else 0):
                raise ConfigError(f"{name} must be at least 1, found {high}.")
            if low is not None and not least <= low <= high:
                raise ConfigError(f"min_{name} must lie between {least} and {name}={high}, found {low}.")
        if self.groups is not None and (self.groups < 1 or self.ways % self.groups):
            raise ConfigError(
                f"{self.ways} ways cannot come equally from {self.groups} groups. Choose a divisor of the ways."
            )
        if self.support is not None and (self.min_shots is not None or self.support < self.ways):
            raise ConfigError(
                f"A support set of at most {self.support} examples must have room for one of each of {self.ways} "
                "classes, and draws the shots itself: raise it, or lower the ways, and leave min_shots out."
            )
        if self.queries < 1:
            raise ConfigError(f"queries must be at least 1, found {self.queries}: without one nothing is judged.")

    @property
    def varies(self) -> bool:
        """Whether tasks differ in their ways or shots."""
        return not self.min_ways is self.min_shots is self.support is None

    @property
    def least_ways(self) -> int:
        """The fewest classes of a task."""
        return self.ways if self.min_ways is None else self.min_ways

    @property
    def least_shots(self) -> int:
        """The fewest support examples of a class."""
        return min(self.shots, 1) if self.support is not None else self.min_shots or self.shots


def presence(
    sampling: Sampling, keys: Tensor, most: Tensor | None = None, held: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Which classes of each task exist, (T, N) bool, and how many shots each has, (T, N) int64, from keys (T,).

    most: (T,) int64, how many classes there are for each task; held: (T, N) int64, how many examples of each class may
    be shots; as many as wanted if not given.
    """
    size, device = (len(keys), sampling.ways), keys.device
    present = torch.ones(size, dtype=torch.bool, device=device)
    given = torch.full(size, sampling.shots, device=device)
    if sampling.min_ways is not None:
        top = sampling.ways if most is None else most.clamp(max=sampling.ways)
        ways = sampling.min_ways + rng.integers(keys, top - sampling.min_ways + 1)
        present = torch.arange(sampling.ways, device=device) < ways[:, None]
    if held is not None:
        given = torch.minimum(given, held)
    if (low := sampling.min_shots) is not None:
        given = low + rng.integers(rng.fold(keys, 1), given - low + 1, (sampling.ways,))
    if sampling.support is not None:
        given = unequal(rng.fold(keys, 1), present, given, sampling.support)
    return present, given


def masks(
    sampling: Sampling, keys: Tensor, most: Tensor | None = None, held: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Which of all support examples (T, N, K) and query examples (T, N, Q) exist, as `presence` says."""
    seen, asked = (
        torch.ones((len(keys), sampling.ways, count), dtype=torch.bool, device=keys.device)
        for count in (sampling.shots, sampling.queries)
    )
    if not sampling.varies:
        return seen, asked
    present, given = presence(sampling, keys, most, held)
    shot = torch.arange(sampling.shots, device=keys.device)
    return present[..., None] & (shot < given[..., None]), asked & present[..., None]


class Source(Brief, ABC):
    """Where episodes come from. A source is immutable; `sampled`, `seeded` and `to` return changed copies."""

    spec: TaskSpec
    sampling: Sampling
    seed: int

    def __repr__(self) -> str:
        return lines(type(self).__name__, self._told())

    def _repr_html_(self) -> str:
        return card(f"Tasks: {type(self).__name__}", self._told())

    def _told(self) -> list[tuple[str, str]]:
        """What it is for people: lines of a name and what it is."""
        size = self.sampling
        ways = f"{size.ways} ways, " if self.spec.target.relabels else ""
        shots = f"{size.shots} shot{'' if size.shots == 1 else 's'}"
        return [
            ("records", str(self.spec.format)),
            ("asked", str(self.spec.target)),
            (
                "a task",
                f"{ways}{shots}, {size.queries} queries{' of each class' if ways else ''}",
            ),
            *((split, self._holding(split)) for split in SPLITS),
        ]

    def _holding(self, split: str) -> str:
        """What a split has, in words: how many classes or data sets, and some of their names."""
        names = self.classes(split)
        what = "classes" if self.spec.target.relabels else f"{self.spec.format.whole}s"
        return f"{len(names):,} {what}: {first_of(names)}" if names else f"{what} that are made up, or none"

    @abstractmethod
    def episodes(self, split: str, indices: Tensor) -> Episode:
        """Episodes `indices` (T,) int64 of `split`, on the source's device, every leaf with a leading task axis T."""

    @abstractmethod
    def sampled(self, sampling: Sampling) -> Self:
        """The same source with tasks of another size; `check` says whether the data can give them."""

    @abstractmethod
    def seeded(self, seed: int) -> Self:
        """The same source with another stream of episodes."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same source on another device; episode i stays the same."""

    @property
    def balanced(self) -> bool:
        """Whether every class of a task has as many examples as the sampling says.

        If not, shots and queries count all examples of a task, whatever their class.
        """
        return True

    @property
    def repeats(self) -> bool:
        """Whether two examples of a task may look alike, as rows of a table of categories may."""
        return False

    @property
    def longest(self) -> int:
        """The most examples that one shot or query is: the steps of an episode, where that is what they count."""
        return 1

    def parts(self, split: str) -> dict[str, Source]:
        """The sources that a split's tasks come from, by name, if figures are told of each; empty where it is one."""
        return {}

    def seen_as(self, format: Format) -> Source:
        """The same tasks with their records as `format` has them, such as images of another size; ConfigError, or what
        the format raises, if they cannot be."""
        if format != self.spec.format:
            raise ConfigError(
                f"These tasks make up their examples, which are {self.spec.format}, and cannot be made {format}. "
                "Give the source the options that make it alike."
            )
        return self

    def only_for(self, split: str) -> Source:
        """The same source with all of its classes in one split, and none in the others."""
        raise ConfigError(
            "These tasks are not drawn from fixed classes, so that all cannot be held out as the split "
            f"{split!r}. Hold out domains that are folders, archives or arrays of classes."
        )

    def known(self, split: str) -> None:
        """Raise ConfigError, suggesting the nearest name, if `split` is not one of SPLITS."""
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)

    def check(self, split: str) -> None:
        """Raise DataError, naming class and numbers, if `split` cannot give episodes of this sampling.

        Sources that make up their data can always give them: here only the name of the split is checked.
        """
        self.known(split)

    def classes(self, split: str) -> list[str]:
        """The names of all classes of a split; empty where classes are made up, so that data cannot grow.

        A run stores them: a class that it was trained on is then never taken for a new one.
        """
        return []

    def arms(self, split: str) -> list[str]:
        """What tasks of a split are made of, by name, where training may take more of some: groups of classes, classes,
        or domains. Empty where nothing tells."""
        return []

    def arms_of(self, split: str, indices: Tensor) -> Tensor:
        """Of which arms episodes `indices` (T,) are: numbers into `arms`, (T, M) int64; without making the episodes."""
        raise ConfigError("Nothing tells which classes or domains these tasks are of.")

    def under(self, learner: Any, params: Params) -> Self:
        """The same source as it is for a learner with this φ: where what is seen depends on what is done."""
        return self

    def others(self) -> dict[str, Source]:
        """The same tasks as others than the learner meet them, by who that is, where what is seen depends on what is
        done: what the learner is held against then."""
        return {}

    def computed(self) -> dict[str, float]:
        """The mean headline in these tasks of others than the learner that can be computed, by who that is."""
        return {}

    def filmed(self, split: str, index: int) -> Film | None:
        """What happens in one task, where what is seen depends on what is done; ConfigError, which says why, where
        nothing can draw it."""
        return None

    def plain(self) -> Self:
        """The same source without augmentation: training tasks as they would be if they were evaluated."""
        return self

    def class_names(self, split: str, index: int) -> list[str]:
        """The names of the classes of one episode, in the order of their ids; empty where they have none."""
        return []


def held_out(source: Source, split: str = "val") -> bool:
    """Whether the classes of a split are new ones. If not, it says nothing about new tasks and can choose nothing."""
    return not set(source.classes(split)) & set(source.classes("train"))

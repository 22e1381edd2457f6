"""Several sources as one: each task comes from one of them (Meta-Dataset, Triantafillou et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, joined, map_episode
from quickstudy.errors import ConfigError, DataError, first_of, unknown_name
from quickstudy.tasks.base import SPLITS, Source
from quickstudy.tasks.wrapped import Wrapped

Weights = Literal["equal", "classes"]
"""How often a domain gives training tasks: all alike, or in proportion to the number of its training classes."""


@dataclass(frozen=True, kw_only=True)
class Domains(Wrapped):
    """Tasks of several domains, each with splits of its own; all look alike, and are of one size.

    members: the domains, by name. held: of those that are only in validation or only in test, the split. weights: of
    training tasks, see `Weights`. Which domain gives training task i is drawn from (seed, i); tasks of other splits
    come from those that have such classes in turn, so that each is judged by equally many. Classes are called
    'domain/class'. Sampling and seed are those of the first.
    """

    members: Mapping[str, Source]
    held: Mapping[str, str] = field(default_factory=dict)
    weights: Weights = "equal"

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise ConfigError(
                f"Several domains are at least two, found {', '.join(map(repr, self.members)) or 'none'}. Add one, or "
                "train on the source itself."
            )
        for name, split in self.held.items():
            if name not in self.members:
                raise unknown_name("domain to hold out", name, self.members)
            if split not in ("val", "test"):
                raise ConfigError(f"The domain {name!r} can be held out for 'val' or 'test', found {split!r}.")
        if len(self.held) == len(self.members):
            raise ConfigError("All domains are held out, so that none is left to train on. Leave one out.")
        if self.weights not in ("equal", "classes"):
            raise ConfigError(f"weights must be 'equal' or 'classes', found {self.weights!r}.")
        first, size, seed = self.inner.spec, self.inner.sampling, self.inner.seed
        aligned = dict(self.members)
        for name, member in self.members.items():
            if member.spec.format != first.format or not first.target.fits(member.spec.target):
                raise ConfigError(
                    f"The tasks of all domains must look alike, but those of {name!r} are {member.spec}, and the first "
                    f"ones {first}. Bring them to one format: source.seen_as(format)."
                )
            if (member.sampling, member.seed) != (size, seed):
                aligned[name] = member.sampled(size).seeded(seed)
        object.__setattr__(self, "members", aligned)  # frozen: the usual way to complete a field

    @property
    def inner(self) -> Source:
        return next(iter(self.members.values()))

    @property
    def balanced(self) -> bool:
        return all(member.balanced for member in self.members.values())

    @property
    def repeats(self) -> bool:
        return any(member.repeats for member in self.members.values())

    def around(self, change: Callable[[Source], Source]) -> Domains:
        return replace(self, members={name: change(member) for name, member in self.members.items()})

    def parts(self, split: str) -> dict[str, Source]:
        return {name: self.members[name] for name in self._taking(split)}

    @cached_property
    def _taken(self) -> dict[str, list[str]]:
        return {}

    def _taking(self, split: str) -> list[str]:
        """The domains that a split's tasks come from."""
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        if split not in self._taken:
            names = [name for name in self.members if self._has(name, split)]
            if not names and split == "val":  # as where no class is held out: it is then known that it says nothing
                names = [name for name in self.members if name not in self.held]
            self._taken[split] = names
        if not self._taken[split]:
            raise DataError(
                f"No domain has classes of the split {split!r}. Hold out classes of one, or a whole domain."
            )
        return self._taken[split]

    def _has(self, name: str, split: str) -> bool:
        """Whether a domain has tasks of a split that are not its training tasks."""
        if name in self.held:
            return self.held[name] == split
        own, trained = self.members[name].classes(split), self.members[name].classes("train")
        return not trained or (bool(own) and (split == "train" or own != trained))

    def _holding(self, split: str) -> str:
        names = [name for name in self.members if self._has(name, split)]
        return first_of([f"{name} ({self.members[name]._holding(split)})" for name in names]) or "no domain"

    def check(self, split: str) -> None:
        for name in self._taking(split):
            with of_domain(name):
                self.members[name].check(split)

    def _which(self, split: str, indices: Tensor) -> tuple[Tensor, Tensor]:
        """For each task, the number of its domain among those of the split, and which of its tasks it is."""
        names = self._taking(split)
        if split != "train":
            return indices % len(names), indices // len(names)
        keys = rng.fold(rng.key(self.seed, "domains", device=indices.device), indices)
        if self.weights == "equal":
            return rng.integers(keys, len(names)), indices
        ends = self._counts.to(indices.device).cumsum(0)
        return torch.searchsorted(ends, rng.integers(keys, ends[-1]), right=True), indices

    @cached_property
    def _counts(self) -> Tensor:
        """How many training classes each domain has."""
        counts = {name: len(self.members[name].classes("train")) for name in self._taking("train")}
        if (made_up := next((name for name, count in counts.items() if not count), None)) is not None:
            raise ConfigError(
                f"The domain {made_up!r} makes up its classes, so that they have no number to weigh it by. Choose "
                "weights='equal'."
            )
        return torch.tensor(list(counts.values()))

    def episodes(self, split: str, indices: Tensor) -> Episode:
        which, own = self._which(split, indices)
        whole: Episode | None = None
        places = []
        for number, name in enumerate(self._taking(split)):
            if not len(mine := (which == number).nonzero().flatten()):
                continue
            with of_domain(name):
                part = self.members[name].episodes(split, own[mine])
            whole = part if whole is None else joined(whole, part)
            places.append(mine)
        assert whole is not None
        back = torch.cat(places).argsort()
        return whole if len(places) == 1 else map_episode(lambda t: t[back], whole)

    def classes(self, split: str) -> list[str]:
        names = self._taking(split) if split in SPLITS else []
        return [f"{name}/{one}" for name in names for one in self.members[name].classes(split)]

    def arms(self, split: str) -> list[str]:
        return list(self._taking(split))

    def arms_of(self, split: str, indices: Tensor) -> Tensor:
        return self._which(split, indices)[0][:, None]

    def class_names(self, split: str, index: int) -> list[str]:
        which, own = self._which(split, torch.tensor([index]))
        name = self._taking(split)[int(which)]
        return [f"{name}/{one}" for one in self.members[name].class_names(split, int(own))]


@contextmanager
def of_domain(name: str) -> Iterator[None]:
    """Within it, what is wrong with data or settings is said of a domain."""
    try:
        yield
    except (DataError, ConfigError) as error:
        raise type(error)(f"The domain {name!r}: {error}") from error

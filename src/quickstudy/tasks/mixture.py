"""Several sources as one: each training task comes from one of them, by weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, joined, map_episode
from quickstudy.errors import ConfigError
from quickstudy.tasks.base import Source
from quickstudy.tasks.wrapped import Wrapped


@dataclass(frozen=True, kw_only=True)
class Mixture(Wrapped):
    """Training tasks from `first` and, a `share` of them in [0, 1], from `second`; val and test from `first` alone.

    Which one gives task i is drawn from (seed, i), so the stream is as repeatable as theirs. `second` takes
    its sampling and seed from `first`.
    """

    first: Source
    second: Source
    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ConfigError(f"The share of the second source must lie in [0, 1], found {self.share}.")
        one, other = self.first.spec, self.second.spec
        if one.format.layout != other.format.layout or not one.target.fits(other.target):
            raise ConfigError(f"Sources can be mixed if their tasks look alike: found {one}, and {other}.")
        if (self.second.seed, self.second.sampling) != (self.first.seed, self.first.sampling):
            aligned = self.second.sampled(self.first.sampling).seeded(self.first.seed)
            object.__setattr__(self, "second", aligned)  # frozen: the usual way to complete a field

    @property
    def inner(self) -> Source:
        return self.first

    def around(self, change: Callable[[Source], Source]) -> Mixture:
        return replace(self, first=change(self.first), second=change(self.second))

    def parts(self, split: str) -> dict[str, Source]:
        return {name: replace(self, first=part) for name, part in self.first.parts(split).items()}

    def check(self, split: str) -> None:
        self.first.check(split)
        if split == "train":
            self.second.check(split)

    def _from_second(self, indices: Tensor) -> Tensor:
        keys = rng.fold(rng.key(self.seed, "mixture", device=indices.device), indices)
        return rng.uniform(keys) < self.share

    def episodes(self, split: str, indices: Tensor) -> Episode:
        if split != "train":
            return self.first.episodes(split, indices)
        second = self._from_second(indices)
        if not bool(second.any()):
            return self.first.episodes(split, indices)
        if bool(second.all()):
            return self.second.episodes(split, indices)
        parts = self.first.episodes(split, indices[~second]), self.second.episodes(split, indices[second])
        back = torch.cat([(~second).nonzero(), second.nonzero()]).flatten().argsort()
        return map_episode(lambda t: t[back], joined(*parts))

    def classes(self, split: str) -> list[str]:
        return self.first.classes(split) + (self.second.classes(split) if split == "train" else [])

    def _holding(self, split: str) -> str:
        first = self.first._holding(split)
        return f"{first}; and {self.second._holding(split)}" if split == "train" else first

    def arms(self, split: str) -> list[str]:
        return ["the first source", "the second"] if split == "train" else self.first.arms(split)

    def arms_of(self, split: str, indices: Tensor) -> Tensor:
        if split != "train":
            return self.first.arms_of(split, indices)
        return self._from_second(indices)[:, None].long()

    def class_names(self, split: str, index: int) -> list[str]:
        from_second = split == "train" and bool(self._from_second(torch.tensor([index])))
        return (self.second if from_second else self.first).class_names(split, index)

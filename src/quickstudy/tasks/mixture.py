"""Several sources as one: each training task comes from one of them, by weight."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, Features, TaskSpec
from quickstudy.errors import ConfigError, ShapeError
from quickstudy.tasks.base import Sampling, Source


@dataclass(frozen=True, kw_only=True)
class Mixture(Source):
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
        if (one.kind, one.input_shape, one.target_shape) != (other.kind, other.input_shape, other.target_shape):
            raise ConfigError(
                f"Sources can be mixed if their tasks look alike: found {one.kind} with inputs {one.input_shape} and "
                f"targets {one.target_shape}, and {other.kind} with {other.input_shape} and {other.target_shape}."
            )
        if (self.second.seed, self.second.sampling) != (self.first.seed, self.first.sampling):
            aligned = self.second.sampled(self.first.sampling).seeded(self.first.seed)
            object.__setattr__(self, "second", aligned)  # frozen: the usual way to complete a field

    @property
    def spec(self) -> TaskSpec:  # type: ignore[override]
        return self.first.spec

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        return self.first.sampling

    @property
    def seed(self) -> int:  # type: ignore[override]
        return self.first.seed

    def sampled(self, sampling: Sampling) -> Mixture:
        return replace(self, first=self.first.sampled(sampling))

    def seeded(self, seed: int) -> Mixture:
        return replace(self, first=self.first.seeded(seed))

    def plain(self) -> Mixture:
        return replace(self, first=self.first.plain(), second=self.second.plain())

    def to(self, device: torch.device | str) -> Mixture:
        return replace(self, first=self.first.to(device), second=self.second.to(device))

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
        return _joined(*parts, back)

    def classes(self, split: str) -> list[str]:
        return self.first.classes(split) + (self.second.classes(split) if split == "train" else [])

    def class_names(self, split: str, index: int) -> list[str]:
        from_second = split == "train" and bool(self._from_second(torch.tensor([index])))
        return (self.second if from_second else self.first).class_names(split, index)


def _joined(one: Episode, other: Episode, order: Tensor) -> Episode:
    """The tasks of both, along the task axis, in `order` (T,)."""

    def join(a: Examples, b: Examples) -> Examples:
        x: Features
        if isinstance(a.x, dict) and isinstance(b.x, dict):
            x = {name: torch.cat([a.x[name], b.x[name]])[order] for name in a.x}
        elif isinstance(a.x, Tensor) and isinstance(b.x, Tensor):
            x = torch.cat([a.x, b.x])[order]
        else:
            raise ShapeError("Sources can be mixed if both give tensors, or both dicts; found one of each.")
        return Examples(x, torch.cat([a.y, b.y])[order], torch.cat([a.mask, b.mask])[order])

    return Episode(join(one.support, other.support), join(one.query, other.query))

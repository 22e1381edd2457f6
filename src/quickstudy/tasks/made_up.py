"""What sources share that make up their data: nothing is stored, and all splits are alike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source, presence


@dataclass(frozen=True, kw_only=True)
class MadeUpSource(Source):
    """Base of such sources; episodes are made of `keys`."""

    spec: TaskSpec
    sampling: Sampling
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def sampled(self, sampling: Sampling) -> Self:
        return replace(self, sampling=sampling, spec=self.spec.at(sampling.ways))

    def seeded(self, seed: int) -> Self:
        return replace(self, seed=seed)

    def to(self, device: torch.device | str) -> Self:
        return replace(self, device=torch.device(device))

    def keys(self, split: str, indices: Tensor) -> Tensor:
        """A key for each task, (T,), to draw it from."""
        self.known(split)
        return rng.fold(rng.key(self.seed, split, device=self.device), indices.to(self.device))


@dataclass(frozen=True, kw_only=True)
class FunctionSource(MadeUpSource):
    """Base of those whose tasks are functions; shots and queries count points."""

    def sampled(self, sampling: Sampling) -> Self:
        return super().sampled(replace(sampling, ways=1, min_ways=None))

    def points(self, x: Tensor, y: Tensor, keys: Tensor) -> Episode:
        """The episodes of points x (T, K + Q, *features), y (T, K + Q, *target): the first K are the support.

        keys: (T,), of which the numbers of support points are drawn where they vary.
        """
        shots = self.sampling.shots
        _, given = presence(self.sampling, keys)
        mask = torch.arange(shots, device=self.device) < given.reshape(len(keys), -1)[:, :1]
        known = torch.ones((len(keys), self.sampling.queries), dtype=torch.bool, device=self.device)
        return Episode(Examples(x[:, :shots], y[:, :shots], mask), Examples(x[:, shots:], y[:, shots:], known))

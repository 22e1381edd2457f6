"""Tasks that can be guessed: what an input means is the same in all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source

FEATURES, KINDS = 8, 10


@dataclass(frozen=True, kw_only=True)
class Guessable(Source):
    """Each task has two of twenty clusters of points, of which ten are always class 0 and ten always class 1.

    The label is a function of x alone, and the same in all tasks; which clusters a task has, its support set tells.
    """

    spec: TaskSpec = TaskSpec(formats.make("array", shape=(FEATURES,)), targets.make("classes", ways=2))
    sampling: Sampling = Sampling(ways=2, shots=3, queries=5)
    seed: int = 0
    noise: float = 0.2

    def sampled(self, sampling: Sampling) -> Guessable:
        return replace(self, sampling=sampling)

    def seeded(self, seed: int) -> Guessable:
        return replace(self, seed=seed)

    def to(self, device: torch.device | str) -> Guessable:
        return self

    def class_names(self, split: str, index: int) -> list[str]:
        return [f"{label}/{kind}" for label, kind in enumerate(self._kinds(split, torch.tensor([index]))[0].tolist())]

    def _kinds(self, split: str, indices: Tensor) -> Tensor:
        return rng.integers(rng.fold(rng.key(self.seed, "kinds", split), indices), KINDS, (2,))

    def centre(self, name: str) -> Tensor:
        label, kind = (int(number) for number in name.split("/"))
        return self._centres()[label, kind]

    def _centres(self) -> Tensor:
        return rng.normal(rng.key(0, "centres"), (2, KINDS, FEATURES))

    def episodes(self, split: str, indices: Tensor) -> Episode:
        keys = rng.fold(rng.key(self.seed, "points", split), indices)
        centres = self._centres()[torch.arange(2), self._kinds(split, indices)]
        parts = []
        for purpose, count in enumerate((self.sampling.shots, self.sampling.queries)):
            noise = rng.normal(rng.fold(keys, purpose), (2, count, FEATURES))
            x = (centres[:, :, None] + self.noise * noise).flatten(1, 2)
            y = torch.arange(2).repeat_interleave(count).expand(len(x), -1).clone()
            parts.append(Examples(x, y, torch.ones_like(y, dtype=torch.bool)))
        return Episode(*parts)

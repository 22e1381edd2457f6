"""A task source of your own: each task is one parabola y = a x² + b x + c.

python examples/own_source.py         # checks it, then trains on it for 1000 steps
python examples/own_source.py 50      # fewer steps
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import rng
from quickstudy.tasks.base import Source, presence
from quickstudy.testing import check_source

CURVE, POINTS, SIZES = range(3)  # what a random key is used for: three streams that share no number


@dataclass(frozen=True, kw_only=True)
class Parabolas(Source):
    """Regression tasks. Episode i of a split is a function of (seed, split, i) alone: no hidden random state."""

    spec: qs.TaskSpec = qs.TaskSpec(qs.formats.Array(shape=(1,)), qs.targets.Numbers())
    sampling: qs.Sampling = qs.Sampling(ways=1, shots=10, queries=10)
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def sampled(self, sampling: qs.Sampling) -> Parabolas:
        return replace(self, sampling=replace(sampling, ways=1, min_ways=None))

    def seeded(self, seed: int) -> Parabolas:
        return replace(self, seed=seed)

    def to(self, device: torch.device | str) -> Parabolas:
        return replace(self, device=torch.device(device))

    def episodes(self, split: str, indices: Tensor) -> qs.Episode:
        self.known(split)
        shots, queries = self.sampling.shots, self.sampling.queries
        keys = rng.fold(rng.key(self.seed, split, device=self.device), indices.to(self.device))  # one key a task
        a, b, c = rng.uniform(rng.fold(keys, CURVE), (3, 1, 1), -1.0, 1.0).unbind(dim=1)  # (T, 1, 1) each
        x = rng.uniform(rng.fold(keys, POINTS), (shots + queries, 1), -2.0, 2.0)  # (T, K + Q, 1)
        y = a * x**2 + b * x + c
        _, given = presence(self.sampling, rng.fold(keys, SIZES))  # shots of each task, where they vary
        return qs.Episode(
            qs.Examples(x[:, :shots], y[:, :shots], torch.arange(shots, device=self.device) < given),
            qs.Examples(x[:, shots:], y[:, shots:], torch.ones_like(x[:, shots:, 0], dtype=torch.bool)),
        )


@qs.registry.sources.register("parabolas")
def parabolas() -> Parabolas:
    """Regression: one parabola a task."""
    return Parabolas()


def main(iterations: int = 1000) -> None:
    check_source(parabolas())
    print("The source keeps the contract.")
    config = replace(
        qs.recipes.sinusoid_maml().with_tasks(qs.registry.sources.part("parabolas")),
        name="own-source",
        iterations=iterations,
    )
    run = qs.train(config)
    print("untrained", run.evaluate(episodes=100, params=run.untrained()))
    print("trained  ", run.evaluate(episodes=100))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

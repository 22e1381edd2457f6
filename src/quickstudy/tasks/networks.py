"""Regression tasks: functions that random neural networks compute."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode
from quickstudy.errors import ConfigError
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.made_up import FunctionSource

_POINTS, _NOISE, _SIZES, _SCALE, _WEIGHTS = range(5)
_SAMPLING = Sampling(ways=1, shots=20, queries=20)


@dataclass(frozen=True, kw_only=True)
class NetworkSource(FunctionSource):
    """Tasks y = f(x) + ε, where f is a random network of two hidden layers of tanh units and x ~ N(0, I).

    Weights are normal, of a scale that each task draws: nearly linear functions and wild ones. f has mean 0 and spread
    1 over the task's points. All splits are alike.
    """

    width: int
    noise: float
    spec: TaskSpec
    sampling: Sampling = _SAMPLING

    def episodes(self, split: str, indices: Tensor) -> Episode:
        keys, total = self.keys(split, indices), self.sampling.shots + self.sampling.queries
        x = rng.normal(rng.fold(keys, _POINTS), (total, *self.spec.input_shape))
        scale = rng.uniform(rng.fold(keys, _SCALE), (1, 1), math.log(0.5), math.log(3)).exp()
        h, size = x, self.spec.input_shape[0]
        for layer in range(2):
            key = rng.fold(keys, _WEIGHTS + layer)
            weights = rng.normal(key, (size, self.width)) * scale / math.sqrt(size)
            h = torch.tanh(h @ weights + rng.normal(rng.fold(key, 1), (1, self.width)))
            size = self.width
        f = h @ rng.normal(rng.fold(keys, _WEIGHTS + 2), (size, 1))
        f = (f - f.mean(1, keepdim=True)) / f.std(1, keepdim=True).clamp(min=1e-4)
        y = f + self.noise * rng.normal(rng.fold(keys, _NOISE), (total, 1))
        return self.points(x, y, rng.fold(keys, _SIZES))


@sources.register("networks")
def networks(*, dimensions: int = 2, width: int = 16, noise: float = 0.1) -> NetworkSource:
    """Regression: functions that random neural networks compute, with noise.

    dimensions: how many inputs they have. width: of their two hidden layers. noise: its standard deviation; functions
    have standard deviation 1.
    """
    if dimensions < 1 or width < 1 or not noise >= 0:
        raise ConfigError(
            "dimensions and width must be at least 1, and the noise 0 or more; found "
            f"{dimensions}, {width} and {noise}."
        )
    return NetworkSource(
        width=width, noise=noise, spec=TaskSpec(formats.make("array", shape=(dimensions,)), targets.make("numbers"))
    )

"""Regression tasks: one sine curve each, the standard toy problem of gradient-based meta-learning."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.made_up import FunctionSource

_CURVE, _POINTS, _SIZES = range(3)
_SAMPLING = Sampling(ways=1, shots=10, queries=10)
_SPEC = TaskSpec(formats.make("array", shape=(1,)), targets.make("numbers"))


@dataclass(frozen=True, kw_only=True)
class SinusoidSource(FunctionSource):
    """Tasks y = A sin(w x + b) with x uniform in [-5, 5]; shots and queries count points. All splits are alike."""

    varying_frequency: bool = False
    spec: TaskSpec = _SPEC
    sampling: Sampling = _SAMPLING

    def curves(self, split: str, indices: Tensor) -> Tensor:
        """Amplitude A, angular frequency w and phase b of each task: (T, 3)."""
        u = rng.uniform(rng.fold(self.keys(split, indices), _CURVE), (3,))
        amplitude, phase = 0.1 + 4.9 * u[:, 0], math.pi * u[:, 2]
        if self.varying_frequency:
            return torch.stack([amplitude, 0.8 + 0.4 * u[:, 1], phase], dim=1)
        return torch.stack([amplitude, torch.ones_like(amplitude), -phase], dim=1)

    def episodes(self, split: str, indices: Tensor) -> Episode:
        keys, total = self.keys(split, indices), self.sampling.shots + self.sampling.queries
        x = rng.uniform(rng.fold(keys, _POINTS), (total, 1), -5.0, 5.0)
        amplitude, frequency, phase = self.curves(split, indices)[..., None, None].unbind(dim=1)
        y = amplitude * torch.sin(frequency * x + phase)
        return self.points(x, y, rng.fold(keys, _SIZES))


@sources.register("sinusoid")
def sinusoid(*, varying_frequency: bool = False) -> SinusoidSource:
    """Regression: one sine curve a task, of its own amplitude and phase.

    y = A sin(x - b) with A uniform in [0.1, 5], b in [0, pi] and x in [-5, 5] (Finn, Abbeel & Levine 2017, MAML).
    varying_frequency: y = A sin(w x + b), with w uniform in [0.8, 1.2] too (Li et al. 2017, Meta-SGD).
    """
    return SinusoidSource(varying_frequency=varying_frequency)

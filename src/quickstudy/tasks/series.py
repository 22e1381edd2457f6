"""Forecasting tasks: one time series each, whose first points are the support set and whose next ones are asked for."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples
from quickstudy.errors import unknown_name
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source, presence

Kind = Literal["lines", "ar", "sines"]
_SERIES, _SIZES = range(2)
_SAMPLING = Sampling(ways=1, shots=9, queries=10)


@dataclass(frozen=True, kw_only=True)
class SeriesSource(Source):
    """Tasks made of one series each, seen for shots + 1 points.

    The first point has nothing before it; every other one is a support example, together with the window before it. The
    queries are the points that follow. With `min_shots`, tasks are seen for different numbers of points.
    """

    spec: TaskSpec
    sampling: Sampling = _SAMPLING
    seed: int = 0

    @property
    def format(self) -> Any:
        """How a series becomes examples: a format with windows."""
        return self.spec.format

    @property
    def points(self) -> int:
        """How many points of its series a task needs."""
        return 1 + self.sampling.shots + self.sampling.queries

    @abstractmethod
    def values(self, split: str, indices: Tensor) -> Tensor:
        """The series of each task in units of its own: (T, points)."""

    def sampled(self, sampling: Sampling) -> Self:
        return replace(self, sampling=replace(sampling, ways=1, min_ways=None))

    def seeded(self, seed: int) -> Self:
        return replace(self, seed=seed)

    def seen(self, split: str, indices: Tensor) -> Tensor:
        """How many points of its series each task has seen: (T,) int64, shots + 1, or fewer with `min_shots`."""
        keys = rng.fold(rng.key(self.seed, split, device=indices.device), indices)
        return 1 + presence(self.sampling, rng.fold(keys, _SIZES))[1].reshape(len(indices), -1)[:, 0]

    def episodes(self, split: str, indices: Tensor) -> Episode:
        values = self.values(split, indices)
        device, shots = values.device, self.sampling.shots
        seen = self.seen(split, indices.to(device))[:, None]
        at = torch.arange(self.points, device=device)
        values = self.format.scaled(values, self.format.prepare(values, at < seen))
        support = at[1 : shots + 1].expand(len(seen), -1)
        query = seen + torch.arange(self.sampling.queries, device=device)
        return Episode(self._examples(values, support, support < seen), self._examples(values, query, query >= seen))

    def _examples(self, values: Tensor, points: Tensor, mask: Tensor) -> Examples:
        """The examples of the points (T, k), with zeros where `mask` is False."""
        x, y = self.format.windows(values, points), values.gather(1, points)[..., None]
        return Examples(x * mask[..., None, None], y * mask[..., None], mask)


@dataclass(frozen=True, kw_only=True)
class MadeUpSeries(SeriesSource):
    """Series drawn from a formula, see `series`. All splits are alike."""

    kind: Kind
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def to(self, device: torch.device | str) -> MadeUpSeries:
        return replace(self, device=torch.device(device))

    def values(self, split: str, indices: Tensor) -> Tensor:
        self.known(split)
        keys = rng.fold(rng.key(self.seed, split, device=self.device), indices.to(self.device))
        make = {"lines": lines, "ar": autoregressive, "sines": sines}[self.kind]
        return make(rng.fold(keys, _SERIES), self.points)


def lines(keys: Tensor, points: int) -> Tensor:
    """a t + b at t = 0, 1, …, with a and b uniform in [-1, 1]: (T, points)."""
    slope, start = rng.uniform(keys, (2, 1), -1.0, 1.0).unbind(1)
    return slope * torch.arange(points, device=keys.device) + start


def sines(keys: Tensor, points: int) -> Tensor:
    """The sum of one to three sines: (T, points).

    Amplitudes are uniform in [0.2, 1], periods in [4, 20] steps, phases in [0, 2π].
    """
    amplitude, period, phase = rng.uniform(keys, (3, 3, 1)).unbind(1)
    there = torch.arange(3, device=keys.device) <= rng.integers(rng.fold(keys, 1), 3)[:, None]
    angle = 2 * math.pi * (torch.arange(points, device=keys.device) / (4 + 16 * period) + phase)
    return ((0.2 + 0.8 * amplitude) * there[..., None] * torch.sin(angle)).sum(1)


def coefficients(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Of the autoregressive process of each key: see `autoregressive`.

    For k = 0 … 3 the best linear forecast of a point from the k before it, (T, 4, 3), nearest first, and the variance
    of its error, (T, 4): Durbin and Levinson's recursion, started from the partial autocorrelations. Any numbers in
    (-1, 1) are those of a stationary process (Barndorff-Nielsen & Schou 1973).
    """
    partial = rng.uniform(keys, (3,), -0.9, 0.9)
    order = 1 + rng.integers(rng.fold(keys, 1), 3)
    partial = partial * (torch.arange(3, device=keys.device) < order[:, None])
    best = [torch.zeros_like(partial)]
    for k in range(3):
        turned, last = best[-1][:, :k].flip(1), partial[:, k : k + 1]
        best.append(torch.cat([best[-1][:, :k] - last * turned, last, best[-1][:, k + 1 :]], dim=1))
    shrink = torch.cat([torch.ones_like(partial[:, :1]), (1 - partial.square()).cumprod(1)], dim=1)
    return torch.stack(best, dim=1), shrink / shrink[:, 3:]


def autoregressive(keys: Tensor, points: int) -> Tensor:
    """y_t = φ_1 y_{t-1} + … + φ_p y_{t-p} + ε_t, stationary from the first point on: (T, points).

    p is 1, 2 or 3, ε standard normal, and the partial autocorrelations are uniform in [-0.9, 0.9].
    """
    best, variance = coefficients(keys)
    noise = rng.normal(rng.fold(keys, 2), (points,))
    values = noise.new_zeros((len(keys), 3))
    for t in range(points):
        k = min(t, 3)
        mean = (best[:, k] * values[:, -3:].flip(1)).sum(1)
        values = torch.cat([values, (mean + variance[:, k].sqrt() * noise[:, t])[:, None]], dim=1)
    return values[:, 3:]


@sources.register("series")
def series(*, kind: Kind = "lines", window: int = 16, normalise: bool = True) -> MadeUpSeries:
    """Forecasting: one made-up time series a task.

    A task with K shots has seen K + 1 points: each but the first is a support example, whose input is the window of
    values before it. The queries are the points after these, each with the true values before it.

    kind: 'lines' (a t + b), 'ar' (autoregressive processes of order 1 to 3) or 'sines' (sums of one to three).
    window: how many past values an input shows at most; shorter pasts are padded on the left, see `windows`.
    normalise: take the mean of the seen points from all values, and divide by their spread; all lines are then one of
        two, a rising and a falling one.
    """
    if kind not in get_args(Kind):
        raise unknown_name("kind of series", kind, get_args(Kind))
    format = formats.make("series", window=window, normalise=normalise)
    return MadeUpSeries(kind=kind, spec=TaskSpec(format, targets.make("numbers")))

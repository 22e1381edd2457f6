"""Choosing what to average by measuring: greedy soups, the loss on the line between two models, recalibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from quickstudy.averaging.means import Models, combined, finite, mean, named
from quickstudy.brief import Brief
from quickstudy.episode import Params
from quickstudy.errors import ConfigError

Score = Callable[[Params], float]


@dataclass(frozen=True)
class Soup(Brief):
    """params: the mean of `members`, which has the score `score`. scores: of every model alone, best first."""

    params: Params
    members: tuple[str, ...]
    score: float
    scores: dict[str, float]


def greedy_soup(models: Models, score: Score) -> Soup:
    """The models, best first, each taken into the mean if the mean does not get worse by it (Wortsman et al. 2022).

    score: of a model on *validation* data, higher is better. The soup scores at least as its best member does. A model
    whose score is NaN is never taken.
    """
    kept = finite(models)
    scores = {name: float(score(model)) for name, model in kept.items()}
    order = sorted((name for name in kept if scores[name] == scores[name]), key=lambda name: -scores[name])
    if not order:
        raise ConfigError("No model has a score that is a number. Look at what `score` returns.")
    members, best, params = [order[0]], scores[order[0]], dict(kept[order[0]])
    for name in order[1:]:
        candidate = mean([kept[member] for member in [*members, name]])
        if (value := float(score(candidate))) >= best:
            members, best, params = [*members, name], value, candidate
    return Soup(params, tuple(members), best, {name: scores[name] for name in order})


@dataclass(frozen=True)
class Interpolation:
    """The loss at `positions` between two models, 0 the first and 1 the second."""

    positions: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def barrier(self) -> float:
        """How far the loss rises above the straight line between its ends; about 0 within one basin."""
        start, end = self.losses[0], self.losses[-1]
        return max(loss - (1 - t) * start - t * end for t, loss in zip(self.positions, self.losses, strict=True))

    def __str__(self) -> str:
        """One line a position: the loss, and a bar as long."""
        longest = max(self.losses) or 1.0
        rows = [
            f"{t:4.2f}  {loss:8.4f}  {'█' * round(40 * loss / longest)}"
            for t, loss in zip(self.positions, self.losses, strict=True)
        ]
        return "\n".join([*rows, f"barrier {self.barrier:.4f}"])


def interpolation(one: Params, other: Params, loss: Score, points: int = 11) -> Interpolation:
    """The loss at `points` places on the line between two models (Frankle et al. 2020)."""
    if points < 3:
        raise ConfigError(f"An interpolation needs at least 3 points, its ends among them, found {points}.")
    ends = list(named([one, other]).values())
    positions = tuple(index / (points - 1) for index in range(points))
    return Interpolation(positions, tuple(float(loss(combined(ends, [1 - t, t]))) for t in positions))


def recalibrated(module: nn.Module, batches: Iterable[Any] | Sequence[Any]) -> nn.Module:
    """`module` with the running statistics of its BatchNorm layers taken anew over `batches`, in place.

    For φ of a learner, `learner.calibrate(params, episodes)` does the same. After averaging, statistics that were
    averaged too are wrong (Izmailov et al. 2018).
    """
    with torch.no_grad():
        torch.optim.swa_utils.update_bn(batches, module)
    return module

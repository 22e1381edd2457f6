"""Quantiles that follow what is known of a task, and hold over tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.trust.regress import Linear, crossed, quantile, weighted_quantile

NEEDED = 10
"""Inputs that lie beyond a promised rate, or coverage, in what it rests on: fewer do not support it."""
_PARTS = 3
_THIN = 40  # values of a task that a line is fitted to; all of them say how far it is to be moved


@dataclass(frozen=True)
class Quantiles:
    """What share `level` of values lies at or below, as a function of a task's features, for any level within `levels`.

    levels: ascending. lines: one for each, with what was added so that, over tasks that it was not fitted on, the share
    is right (conformalised quantile regression, Romano, Patterson & Candès 2019, over tasks in the place of examples).
    count: of values it rests on. tasks: that they are from.
    """

    levels: tuple[float, ...]
    lines: tuple[Linear, ...]
    count: int
    tasks: int

    def at(self, level: float, features: Tensor) -> Tensor:
        """The quantile (…) float64 for features (…, f); between two levels, in the logit of the level."""
        if not self.levels[0] <= level <= self.levels[-1]:
            raise ValueError(f"The level {level} lies outside of {self.levels[0]} to {self.levels[-1]}.")
        values = torch.stack([line(features) for line in self.lines], -1).sort(-1).values
        upper = next(i for i, known in enumerate(self.levels) if known >= level)
        if self.levels[upper] == level:
            return values[..., upper]
        low, high, here = (_logit(one) for one in (self.levels[upper - 1], self.levels[upper], level))
        share = (here - low) / (high - low)
        return (1 - share) * values[..., upper - 1] + share * values[..., upper]


def require_level(name: str, asked: float, share: float, by: Quantiles) -> None:
    """ConfigError for a share of inputs that is none, or that the data cannot tell. name: 'coverage', or what else."""
    if not 0 < share < 1:
        raise ConfigError(
            f"A {name} lies between 0 and 1, both excluded, found {asked:g}: nothing is certain. Choose one such as "
            f"{'0.95' if name == 'coverage' else '0.05'}."
        )
    level = share if name == "coverage" else asked
    if by.levels and by.levels[0] <= level <= by.levels[-1]:
        return
    rare = min(level, 1 - level)
    if by.count * rare < NEEDED or not by.levels:
        ends = f", or choose one from {by.levels[0]:g} to {by.levels[-1]:g}" if by.levels else ""
        raise ConfigError(
            f"A {name} of {asked:g} needs about {math.ceil(NEEDED / rare)} inputs of validation tasks to rest on, and "
            f"there were {by.count}. Hold out more classes or examples{ends}."
        )
    raise ConfigError(f"A {name} can be promised from {by.levels[0]:g} to {by.levels[-1]:g}, found {asked:g}.")


def _logit(level: float) -> float:
    return math.log(level / (1 - level))


def fitted_quantiles(
    features: Sequence[Tensor], values: Sequence[Tensor], levels: Sequence[float], seed: int
) -> Quantiles:
    """Of the values (q,) of each of T tasks with features (f,). Tasks weigh alike, whatever their number of values."""
    x = torch.stack(list(features)).double()
    of = torch.cat([torch.full((len(v),), i) for i, v in enumerate(values)])
    y = torch.cat(list(values)).double()
    weight = torch.cat([torch.full((len(v),), 1 / max(len(v), 1)) for v in values]).double()
    thin = torch.cat([torch.arange(len(v)) % max(1, len(v) // _THIN) == 0 for v in values])
    lines = []
    for level in levels:
        away = torch.zeros_like(y)
        for fit, held in crossed(len(x), _PARTS, seed):
            mine, theirs = torch.isin(of, fit) & thin, torch.isin(of, held)
            line = quantile(x[of[mine]], y[mine], level, weight[mine])
            away[theirs] = y[theirs] - line(x[of[theirs]])
        whole = quantile(x[of[thin]], y[thin], level, weight[thin])
        shift = weighted_quantile(away, weight, level)
        lines.append(Linear(whole.centre, whole.scale, whole.weights, whole.bias + shift, whole.far))
    return Quantiles(tuple(levels), tuple(lines), len(y), len(x))

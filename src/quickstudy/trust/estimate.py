"""How good a model is, from its support set alone: the mean, and an interval that holds over tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import torch
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.trust.classes import wider
from quickstudy.trust.regress import Linear, crossed, ridge, weighted_quantile

_PARTS = 10
_LEVELS = (*(round(0.5 + i / 40, 4) for i in range(18)), 0.96, 0.97, 0.98, 0.99)
_LEAST = 0.02  # of the spread, in the angle: what no number of queries makes smaller
_PENALTY = 0.1  # tasks are few, and features many and alike
_NARROWEST = 0.5  # of an interval: what is left of it at least where it is not about few new inputs


@dataclass(frozen=True, repr=False)
class Accuracy:
    """How often a model is right, by what its support set says.

    mean, low, high: shares. level: with which the interval holds the share that is right among some `queries` new
    inputs, infinity for the share among ever more. tasks: on whose truth it rests, 0 where it rests on the task's own
    left-out examples alone. note: what makes it doubtful, '' if nothing does.

    >>> print(Accuracy(0.87, 0.81, 0.92, 0.9, 300, 150))
    87 % (81 to 92 %, 90 % interval from 300 validation tasks)
    """

    mean: float
    low: float
    high: float
    level: float
    tasks: int
    queries: float
    note: str = ""

    def __str__(self) -> str:
        low, high = (f"{100 * share:.0f}" for share in (self.low, self.high))
        mean = "over 99" if 0.995 <= self.mean < 1 else f"{100 * self.mean:.0f}"
        by = f"{self.tasks} validation tasks" if self.tasks else "its left-out examples alone"
        told = f"{mean} % ({low} to {high} %, {100 * self.level:.0f} % interval from {by})"
        return f"{told}; {self.note}" if self.note else told

    def __repr__(self) -> str:
        return f"Accuracy({self})"


@dataclass(frozen=True)
class Estimator:
    """mean: of the angle, arcsin √accuracy, whose spread by chance is the same for all accuracies. spread: the log of
    how far the truth is from it. low, high: at `_LEVELS`, how many spreads the truth lies below and above at most, each
    with that share of tasks (one-sided).
    """

    mean: Linear
    spread: Linear
    low: tuple[float, ...]
    high: tuple[float, ...]
    tasks: int
    queries: int

    def at(self, features: Tensor, level: float = 0.9, note: str = "", queries: float | None = None) -> Accuracy:
        """Of a task with features (f,). ConfigError for levels that the tasks cannot tell.

        queries: of how many new inputs the share is, as many as validation tasks had if not given. The variance of the
        angle by chance, 1 / 4n of n inputs, is taken out of the interval and put in.
        """
        asked = self.queries if queries is None else queries
        if not asked >= 1:
            raise ConfigError(f"The interval is of the share among 1 new input or more, found {asked:g}.")
        mean, low, high = self.shares(features, level, asked).tolist()
        return Accuracy(mean, low, high, level, self.tasks, asked, note)

    def shares(self, features: Tensor, level: float, queries: float) -> Tensor:
        """(3,): `mean`, `low` and `high` of `at`."""
        reach, angle, spread = self.reach(level), self.mean(features), self.spread(features).exp()
        chance = NormalDist().inv_cdf((1 + level) / 2) ** 2 * (1 / queries - 1 / self.queries) / 4
        below, above = (_moved(end * spread, chance) for end in reach)
        return _shares(angle, angle - below, angle + above)

    def reach(self, level: float) -> tuple[float, float]:
        """How many spreads an interval of this level reaches below and above. ConfigError as for `at`."""
        side, most = (1 + level) / 2, min(_LEVELS[-1], 1 - 1 / (self.tasks + 1))
        if not _LEVELS[0] <= side <= most:
            raise ConfigError(
                f"An interval of the accuracy can have a level between 0 and {2 * most - 1:.2f}, as it rests on "
                f"{self.tasks} tasks; found {level:g}. Choose one of these, such as 0.9."
            )
        return _between(side, self.low), _between(side, self.high)


def _moved(end: Tensor, chance: float) -> Tensor:
    """The end of an interval of which the square grows by `chance`."""
    grown = torch.maximum(end.square() + chance, (_NARROWEST * end).square()).sqrt()
    return torch.where(end > 0, grown, end)


def alone(low: Tensor, by: Linear, place: int, features: Tensor, level: float, queries: float) -> tuple[Tensor, Tensor]:
    """Whether the left-out examples of a task with several of a class contradict what was said of it, () bool; and
    what they say alone, (3,): mean, low and high.

    low: of what was said, by the regression `by`, which follows no feature beyond `Linear.far`. place: of the features
    (f,), that of the angle of the accuracy on left-out examples. Where that lies beyond, below, and a share of at least
    `low` would bring so few right ones in less than 1 % of cases, no validation task was like this one. Then the angle
    is taken to be normal with the variance 1 / 4n (Anscombe 1948), and a model to be no worse than guessing.
    """
    angle, count = features[place], (features[0] + features[1]).exp()
    far = angle < by.centre[place] - by.far * by.scale[place]
    worse = angle + NormalDist().inv_cdf(0.99) / (2 * count.sqrt()) < low.sqrt().asin()
    half = NormalDist().inv_cdf((1 + level) / 2) * (1 / (4 * count) + 1 / (4 * queries)).sqrt()
    middle = torch.maximum(angle, (-features[0] / 2).exp().asin())
    return far & worse, _shares(middle, angle - half, middle + half)


def overruled(said: Accuracy, by: Linear, place: int, features: Tensor) -> Accuracy:
    """`said` of a task with several examples of a class; or, where these contradict it, what they say `alone`."""
    low = torch.tensor(said.low, dtype=torch.float64, device=features.device)
    contradicted, instead = alone(low, by, place, features, said.level, said.queries)
    if not bool(contradicted):
        return said
    note = (
        f"of its left-out examples {100 * float(features[place].sin().square()):.0f} % are right, far fewer than in "
        "validation tasks, so that nothing these tell holds here, nor do probabilities and sets"
    )
    mean, low, high = instead.tolist()
    return replace(said, mean=mean, low=low, high=high, tasks=0, note="; ".join(filter(None, (said.note, note))))


def _shares(*angles: Tensor) -> Tensor:
    return torch.stack(angles).clamp(0, math.pi / 2).sin().square()


def _between(level: float, values: Sequence[float]) -> float:
    """The value at a level, on the lines between those at `_LEVELS`."""
    upper = next(i for i, known in enumerate(_LEVELS) if known >= level - 1e-9)
    if upper == 0:
        return values[0]
    share = (level - _LEVELS[upper - 1]) / (_LEVELS[upper] - _LEVELS[upper - 1])
    return (1 - share) * values[upper - 1] + share * values[upper]


def _both(x: Tensor, angle: Tensor) -> tuple[Linear, Linear]:
    """Mean and log-spread of the angle: a second regression, of what the first leaves, of the log of its size.

    The mean of log |r| of a normal r of spread 1 is −0.635, which is added.
    """
    mean = ridge(x, angle, penalty=_PENALTY)
    rest = ((angle - mean(x)).abs() + _LEAST / 2).log() + 0.635
    return mean, ridge(x, rest, penalty=0.3)


def _weights(of: Tensor) -> Tensor:
    """What each task (T,) counts in quantiles, by the number of its size: those of the most frequent size, the run's
    own, three quarters together, since tails of other sizes may be heavier."""
    own = of == of.bincount().argmax()
    if bool(own.all()):
        return torch.ones(len(of), dtype=torch.float64)
    share = torch.where(own, 0.75 / own.sum(), 0.25 / (~own).sum()).double()
    return torch.where(own.double().mean() >= 0.75, torch.ones_like(share), share)


def fitted_estimator(
    features: Sequence[Tensor],
    accuracy: Sequence[float],
    queries: int,
    seed: int,
    sizes: Sequence[tuple[int, int]] = (),
    classes: int | None = None,
    shown: Sequence[Sequence[str]] = (),
) -> Estimator:
    """From T tasks with features (f,) and known accuracies. The interval is conformal over tasks, each held against
    regressions that were fitted on others (Barber et al. 2021; scaled by their spread, Lei et al. 2018), and wider for
    new classes, see `wider`.

    sizes: ways and shots of each. classes: from how many they were drawn; None if from ever new ones. shown: the names
    of those of each task, if they have any.
    """
    x = torch.stack(list(features)).double()
    angle = torch.tensor(accuracy, dtype=torch.float64).sqrt().asin()
    kinds = sorted(set(sizes))
    of = torch.tensor([kinds.index(size) for size in sizes] or [0] * len(x))
    ways = torch.tensor([size[0] for size in sizes] or [2] * len(x)).double()
    away, rest = torch.zeros_like(angle), torch.zeros_like(angle)
    for fit, held in crossed(len(x), _PARTS, seed):
        mean, spread = _both(x[fit], angle[fit])
        rest[held] = angle[held] - mean(x[held])
        away[held] = rest[held] / spread(x[held]).exp()
    mean, spread = _both(x, angle)
    own = of == of.bincount().argmax()
    of_own = [names for names, mine in zip(shown, own.tolist(), strict=True) if mine] if shown else ()
    more = wider(rest[own], float(ways[own].mean()), queries, classes, of_own)
    spread = replace(spread, bias=spread.bias + more)
    weight = _weights(of)
    count = float(weight.sum().square() / weight.square().sum())

    def ends(values: Tensor) -> tuple[float, ...]:
        return tuple(weighted_quantile(values, weight, min(level * (count + 1) / count, 1.0)) for level in _LEVELS)

    return Estimator(mean, spread, ends(-away), ends(away), len(x), queries)

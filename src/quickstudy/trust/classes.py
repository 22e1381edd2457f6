"""How much more tasks of new classes differ than tasks of the same few, over which trust is fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_RATIOS = torch.logspace(-2, 4, 61, dtype=torch.float64)


def shares(shown: Sequence[Sequence[str]]) -> Tensor:
    """(T, C) how much of each of T tasks each class is, from the names of the classes that each has."""
    place = {name: i for i, name in enumerate(sorted({name for names in shown for name in names}))}
    found = torch.zeros((len(shown), len(place)), dtype=torch.float64)
    for task, names in enumerate(shown):
        for name in names:
            found[task, place[name]] += 1 / len(names)
    return found


def class_variance(rest: Tensor, part: Tensor) -> float:
    """The variance over classes of what a class adds, in its share, to the tasks that it is in.

    rest: (T,) the sums over classes of `part` (T, C) times what a class adds, and something of each task, about a mean.

    By restricted maximum likelihood, with both normal (Patterson & Thompson 1971). It is profiled over the ratio of the
    two variances, on a grid.
    """
    centred = part - part.mean(0)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    rest = rest.double()
    power = (vectors.T @ (rest - rest.mean())).square()
    ratios = torch.cat([torch.zeros(1, dtype=torch.float64), _RATIOS])
    spread = 1 + ratios[:, None] * values.clamp(min=0)
    free = len(rest) - 1  # the constant is an eigenvector of value 0 and power 0
    chance = (power / spread).sum(1) / free
    best = int((free * chance.clamp(min=1e-12).log() + spread.log().sum(1)).argmin())
    return float(ratios[best] * chance[best])


def wider(rest: Tensor, ways: float, queries: int, classes: int | None, shown: Sequence[Sequence[str]] = ()) -> float:
    """By how much, in the log, what a regression leaves (T,) spreads more over tasks of other classes than over those
    of N of the same C classes, which share most of them.

    If classes are drawn from many, and u is the variance of what one adds, the mean over N new ones has the variance
    u (1 / N + 1 / C) about the mean over the C known, and that over N of these u (1 / N − 1 / C) (sampling without
    replacement; Cochran 1977, section 2.5): 2 u / C less. shown: the names of the classes of each task, which tell
    u; without them all that is not chance, whose variance is 1 / 4q of q queries, is taken to be of the classes.
    """
    if classes is None:
        return 0.0
    seen = max(float(rest.square().mean()), 1e-9)
    most = max(seen - 1 / (4 * queries), 0.0) * classes * ways / max(classes - ways, classes / 4)
    of_a_class = min(class_variance(rest, shares(shown)), most) if shown and all(shown) else most
    return 0.5 * math.log1p(2 * of_a_class / classes / seen)

"""The best candidate that a device runs within a limit, found with few trials and few measurements of latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, log, sqrt

import numpy as np

from quickstudy.errors import ConfigError
from quickstudy.search.latency import Devices, Latency
from quickstudy.space import Array


@dataclass(frozen=True)
class Found:
    """best: the number of the candidate, None where none that was tried is known to keep the limit; score: its score.
    tried, measured: candidates in order, with their scores and latencies. latency: the model at the end."""

    best: int | None
    score: float
    tried: dict[int, float]
    measured: dict[int, float]
    latency: Latency


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How `search_within` spends what it may.

    trials, measurements: how many at most. first: measurements of the designed sample, before any trial; the rest is
    kept for candidates that score better than the best so far, or spent before trials where it is enough. noise: of
    the latency model. doubt: deviation of the logarithm of a predicted latency. caution: how much each unit of
    log(probability that the limit is kept) counts beside what is expected of a candidate.
    """

    trials: int = 10
    measurements: int = 10
    first: int = 3
    noise: float = 0.3
    doubt: float = 0.03
    caution: float = 0.2

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.measurements:
            raise ConfigError(
                f"Of {self.measurements} measurements {self.first} come first. Choose from 2 to {self.measurements}."
            )
        if self.trials < 1 or not (self.noise > 0 and self.doubt > 0 and self.caution >= 0):
            raise ConfigError(f"{self} cannot be carried out. It needs a trial, and noise and doubt above 0.")


def search_within(
    limit: float,
    devices: Devices,
    expected: Callable[[dict[int, float]], Array],
    attempt: Callable[[int], float],
    measure: Callable[[int], float],
    plan: Plan | None = None,
    among: Sequence[int] | None = None,
) -> Found:
    """Tries what promises most and should keep the limit, and measures what would be the new best; where as many
    measurements are left as trials, each candidate before it is tried.

    What is expected of a candidate is weighed with the probability that it keeps the limit (as in Gelbart et al. 2014,
    there as a product). Nothing is given as found that was not measured: a prediction says where to look, and a
    measurement whether the limit is kept. Each measurement teaches the model of latencies, too. When all measurements
    are spent, the search goes on among those that were measured and keep the limit, and ends early where none is left.

    limit: of the latency, above 0; ConfigError for another. expected: from the scores of what was tried, by candidate,
    to how good each of n candidates should be, (n,). attempt, measure: the score, and the latency, of a candidate.
    among: candidates that the designed sample may have.
    """
    plan = plan or Plan()
    if not limit > 0:
        raise ConfigError(f"No candidate takes {limit:g} or less. Give a limit above 0, in the unit of the latencies.")
    measured = {int(row): measure(int(row)) for row in devices.sample(plan.first, plan.noise, among)}
    tried: dict[int, float] = {}
    best, score = None, -np.inf
    while len(tried) < plan.trials:
        predicted = devices.fit(list(measured), list(measured.values()), plan.noise).predict()
        promised = expected(tried)
        value = promised + plan.caution * _log_kept((log(limit) - np.log(predicted)) / plan.doubt)
        for row, latency in measured.items():
            value[row] = promised[row] if latency <= limit else -np.inf
        value[list(tried)] = -np.inf
        if len(measured) >= plan.measurements:
            value[[row for row in range(len(value)) if row not in measured]] = -np.inf
        place = int(value.argmax())
        if value[place] == -np.inf:
            break
        if place not in measured and plan.measurements - len(measured) >= plan.trials - len(tried):
            measured[place] = measure(place)
            if measured[place] > limit:
                continue
        tried[place] = attempt(place)
        if tried[place] > score:
            if place not in measured:
                measured[place] = measure(place)
            if measured[place] <= limit:
                best, score = place, tried[place]
    return Found(best, score, tried, measured, devices.fit(list(measured), list(measured.values()), plan.noise))


def _log_kept(apart: Array) -> Array:
    """log Φ of each; far below, where Φ is no number any more, its asymptote −z²/2 − log(−z √2π)."""
    found = np.empty(len(apart))
    for i, z in enumerate(apart):
        found[i] = log(erfc(-z / sqrt(2)) / 2) if z > -10 else -z * z / 2 - log(-z * sqrt(2 * np.pi))
    return found

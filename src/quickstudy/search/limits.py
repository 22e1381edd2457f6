"""The best candidate that a device runs within a limit, found with few trials and few measurements of latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from quickstudy.errors import ConfigError
from quickstudy.search.latency import Devices, Latency
from quickstudy.space import Array


@dataclass(frozen=True)
class Found:
    """best: the number of the candidate, None where none that was tried is known to keep the limit; score: its score.
    tried, measured: the candidates in order, with their scores and latencies. latency: the model, at the end."""

    best: int | None
    score: float
    tried: dict[int, float]
    measured: dict[int, float]
    latency: Latency


def search_within(
    limit: float,
    devices: Devices,
    expected: Callable[[dict[int, float]], Array],
    try_: Callable[[int], float],
    measure: Callable[[int], float],
    *,
    trials: int = 10,
    measurements: int = 10,
    first: int = 5,
    noise: float = 0.3,
    among: Sequence[int] | None = None,
) -> Found:
    """Tries what promises most among what should keep the limit, and measures what would be the new best.

    limit: of the latency. expected: from what was tried, by candidate, to how good each of n candidates should be, (n,).
    try_, measure: the score, and the latency, of a candidate. first: measurements of the designed sample that come
    before any trial; the rest, up to `measurements`, is kept for candidates that are better than the best so far.
    Nothing is told that was not measured: a prediction says where to look, and a measurement what keeps the limit. Each
    measurement teaches the model of latencies, too. among: candidates of the designed sample.

    It ends early where a new best could not be measured any more.
    """
    if not 2 <= first <= measurements:
        raise ConfigError(f"Of {measurements} measurements {first} come first. Choose 2 to {measurements} for the first.")
    measured = {int(row): measure(int(row)) for row in devices.sample(first, noise, among)}
    tried: dict[int, float] = {}
    best, score = None, -np.inf
    while len(tried) < trials and len(measured) < measurements:
        times = devices.fit(list(measured), list(measured.values()), noise).predict()
        value = np.where(times <= limit, expected(tried), -np.inf)
        value[list(tried)] = -np.inf
        place = int(value.argmax())
        if value[place] == -np.inf:
            break
        tried[place] = try_(place)
        if tried[place] > score:
            if place not in measured:
                measured[place] = measure(place)
            if measured[place] <= limit:
                best, score = place, tried[place]
    return Found(best, score, tried, measured, devices.fit(list(measured), list(measured.values()), noise))

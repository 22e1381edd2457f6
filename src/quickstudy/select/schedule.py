"""Short runs before a selector is asked: algorithms that soon finish many instances, each for some seconds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError
from quickstudy.select.scenario import Array, Scenario


class Slice(NamedTuple):
    """An algorithm, by its number, and the seconds that it may run."""

    algorithm: int
    seconds: float


Schedule = tuple[Slice, ...]
Turns = tuple[float, ...]
"""The shares of the best, the second best, … choice in the time that is left."""
ALONE: Turns = (1.0,)
"""The best choice runs until the cutoff."""


def presolvers(scenario: Scenario, seconds: float, most: int = 3) -> Schedule:
    """A schedule that takes `seconds` at most, and greedily finishes the most instances a second (Streeter & Smith
    2008). Runs do not go on from where they were, so an algorithm gets one slice.

    most: slices. Empty where `seconds` are 0 or nothing finishes in them. ConfigError without a cutoff.
    """
    if not 0 <= seconds < np.inf:
        raise ConfigError(f"Presolvers may run for {seconds} seconds, expected a number from 0. Correct it.")
    if seconds > 0 and not scenario.timed:
        raise ConfigError(f"{scenario.name} measures no time, so there is nothing to run before. Take 0 seconds.")
    left, open_, chosen = seconds, np.ones(len(scenario.instances), dtype=bool), list[Slice]()
    while len(chosen) < most:
        best, rate = None, 0.0
        for algorithm in {*range(len(scenario.algorithms))} - {one.algorithm for one in chosen}:
            took = np.sort(scenario.times[open_ & scenario.finished[:, algorithm], algorithm])
            took = took[took <= left]
            count = np.where(took > 0, np.arange(1, len(took) + 1), 0)  # no slice is of no time
            rates = count / np.maximum(took, 1e-9)
            if len(took) and rates.max() > rate:
                rate, best = float(rates.max()), Slice(algorithm, float(took[rates.argmax()]))
        if best is None:
            break
        chosen.append(best)
        left -= best.seconds
        open_ &= ~within(scenario, best)
    return tuple(chosen)


def within(scenario: Scenario, one: Slice) -> NDArray[np.bool_]:
    """(n,): whether the algorithm of a slice finishes each instance in its seconds."""
    return scenario.finished[:, one.algorithm] & (scenario.times[:, one.algorithm] <= one.seconds)


def played(
    scenario: Scenario, order: NDArray[np.int64], schedule: Schedule = (), turns: Turns = ALONE, free: bool = False
) -> Array:
    """The PAR10 (n,) of running the schedule, then computing the features, then what was chosen.

    order: (n, k), the choices for each instance, the best first; (n,) where there is one. turns: shares of what is then
    left of the cutoff, of the first, the second, … choice; those that are not given run no more. free: no features are
    computed. Whatever ends after the cutoff, features included, counts as ten cutoffs. Without a cutoff, features cost
    nothing and the measure of the first choice is given.
    """
    order = order[:, None] if order.ndim == 1 else order
    rows = np.arange(len(scenario.instances))
    if not scenario.timed:
        return scenario.penalised()[rows, order[:, 0]]
    spent, ended = np.zeros(len(rows)), np.full(len(rows), np.inf)
    for one in schedule:
        now = np.isinf(ended) & within(scenario, one)
        ended = np.where(now, spent + scenario.times[:, one.algorithm], ended)
        spent = spent + one.seconds
    spent = spent + (0.0 if free else scenario.cost)
    left = np.maximum(scenario.cutoff - spent, 0.0)
    for place, share in enumerate(turns[: order.shape[1]]):
        algorithm, last = order[:, place], place == min(len(turns), order.shape[1]) - 1
        took = np.where(scenario.finished[rows, algorithm], scenario.times[rows, algorithm], np.inf)
        now = np.isinf(ended) & ((took <= share * left) | last)  # the last one runs until the cutoff
        ended = np.where(now, spent + took, ended)
        spent = spent + share * left
    return np.where(ended <= scenario.cutoff, ended, 10 * scenario.cutoff)

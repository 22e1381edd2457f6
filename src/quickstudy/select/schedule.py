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


def played(scenario: Scenario, chosen: NDArray[np.int64], schedule: Schedule = (), free: bool = False) -> Array:
    """The PAR10 (n,) of running the schedule, then computing the features, then running what was chosen, (n,).

    free: no features are computed. Whatever ends after the cutoff, features included, counts as ten cutoffs.
    Without a cutoff, features cost nothing and the measure itself is given.
    """
    rows = np.arange(len(scenario.instances))
    alone = scenario.penalised()[rows, chosen]
    if not scenario.timed:
        return alone
    spent, done = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    for one in schedule:
        now = ~done & within(scenario, one)
        spent = np.where(done, spent, spent + np.where(now, scenario.times[:, one.algorithm], one.seconds))
        done |= now
    total = np.where(done, spent, spent + alone + (0.0 if free else scenario.cost))
    return np.where(total > scenario.cutoff, 10 * scenario.cutoff, total)

"""What is done around the choice, found by what it would have brought on the known instances: algorithms that run
before, turns of the best few, or no selecting at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quickstudy.select.scenario import Array, Scenario
from quickstudy.select.schedule import ALONE, Schedule, Slice, Turns, played

SHARES = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Of the cutoff, how long an algorithm may run before."""
TURNS: tuple[Turns, ...] = (
    (0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.6, 0.4), (0.5, 0.5), (0.8, 0.1, 0.1), (0.6, 0.25, 0.15), (0.5, 0.3, 0.2),
    (0.4, 0.35, 0.25), (0.4, 0.3, 0.2, 0.1), (0.25, 0.25, 0.25, 0.25),
)  # fmt: skip
"""Of what is left of the cutoff, the shares of the best, the second best, …"""


@dataclass(frozen=True)
class Plan:
    """schedule: what runs first, the shorter before the longer. turns: of the choices after it. select: False where the
    single best alone is better than all that."""

    schedule: Schedule = ()
    turns: Turns = ALONE
    select: bool = True


def planned(
    scenario: Scenario, order: NDArray[np.int64], *, free: bool = False, most: int = 3, errors: float = 1.0
) -> Plan:
    """The plan that would have taken least PAR10 on the instances that any algorithm finishes.

    order: (n, A), the algorithms from the best score to the worst, of each instance as if it were new (`unseen`). Turns
    are chosen first, then slices are added one by one, and a step is taken only where what it gains is more than
    `errors` standard errors of that, as plans are many and instances few. The same holds for selecting at all.
    Without a cutoff nothing can be stopped, and only that last question is asked.

    free: no features are computed for the choice. most: slices.
    """
    solvable = scenario.solvable

    def gain(before: Array, after: Array) -> float:
        gained = (before - after)[solvable]
        return float(gained.mean() - errors * gained.std() / len(gained) ** 0.5)

    schedule: Schedule = ()
    turns, best = ALONE, played(scenario, order, free=free)
    for other in TURNS if scenario.timed else ():
        if len(other) <= order.shape[1]:
            result = played(scenario, order, turns=other, free=free)
            if gain(best, result) > 0:
                turns, best = other, result
    while scenario.timed and len(schedule) < most:
        longer = [_with(schedule, one) for one in _slices(scenario, schedule)]
        results = [played(scenario, order, one, turns, free) for one in longer]
        gains = [gain(best, result) for result in results]
        if not gains or max(gains) <= 0:
            break
        at = int(np.argmax(gains))
        schedule, best = longer[at], results[at]
    single = np.full((len(order), 1), scenario.penalised().mean(axis=0).argmin())
    return Plan(schedule, turns, gain(played(scenario, single, free=True), best) > 0)


def _slices(scenario: Scenario, schedule: Schedule) -> list[Slice]:
    """Of algorithms that are not in the schedule; none that would finish nothing in it."""
    had = {one.algorithm for one in schedule}
    found = []
    for algorithm in set(range(len(scenario.algorithms))) - had:
        took = scenario.times[scenario.finished[:, algorithm], algorithm]
        found += [Slice(algorithm, s * scenario.cutoff) for s in SHARES if (took <= s * scenario.cutoff).any()]
    return found


def _with(schedule: Schedule, one: Slice) -> Schedule:
    return tuple(sorted((*schedule, one), key=lambda each: each.seconds))

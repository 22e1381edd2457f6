"""Timing contestants in turn, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Effort:
    """How long to measure. rounds: turns of each contestant. turn: seconds of one turn. limit: seconds of one
    contestant in all; a slow one stops there, but not before it had `least` turns."""

    rounds: int = 15
    turn: float = 0.3
    limit: float = 60.0
    least: int = 3


QUICK = Effort(rounds=2, turn=0.02, limit=5.0, least=1)


@dataclass(frozen=True)
class Timed:
    """seconds: median over `turns` turns of the time of one call. low, high: the quartiles of the turns."""

    seconds: float
    low: float
    high: float
    turns: int


def alternate(calls: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, Timed]:
    """The time of one call of each, measured in turn; every call was made before, to warm up."""
    repeats: dict[str, int] = {}
    times: dict[str, list[float]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    for name, call in calls.items():
        call()
        began = time.perf_counter()
        call()
        repeats[name] = max(1, round(effort.turn / max(time.perf_counter() - began, 1e-9)))
    names = list(calls)
    for turn in range(effort.rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:  # nobody always follows the same neighbour
            if spent[name] > effort.limit and len(times[name]) >= effort.least:
                continue
            gc.collect()
            began = time.perf_counter()
            for _ in range(repeats[name]):
                calls[name]()
            took = time.perf_counter() - began
            spent[name] += took
            times[name].append(took / repeats[name])
    return {name: _summary(found) for name, found in times.items()}


def _summary(times: list[float]) -> Timed:
    ordered = sorted(times)
    quarter = len(ordered) // 4
    return Timed(median(ordered), ordered[quarter], ordered[-1 - quarter], len(ordered))

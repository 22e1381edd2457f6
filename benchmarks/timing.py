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


def repeated(call: Callable[[], object]) -> Callable[[int], float]:
    """A turn of `call` in this process: of a number of calls, the seconds they took."""

    def turn(calls: int) -> float:
        gc.collect()
        began = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - began

    return turn


def alternate(turns: Mapping[str, Callable[[int], float]], effort: Effort) -> dict[str, Timed]:
    """The time of one call of each, measured in turn, after a call to warm up and one to see how long a call takes.

    turns: of each, a function of a number of calls that makes them, wherever, and returns their seconds.
    """
    repeats: dict[str, int] = {}
    times: dict[str, list[float]] = {name: [] for name in turns}
    spent = dict.fromkeys(turns, 0.0)
    for name, turn in turns.items():
        turn(1)
        repeats[name] = max(1, round(effort.turn / max(turn(1), 1e-9)))
    names = list(turns)
    for number in range(effort.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:  # nobody always follows the same neighbour
            if spent[name] > effort.limit and len(times[name]) >= effort.least:
                continue
            took = turns[name](repeats[name])
            spent[name] += took
            times[name].append(took / repeats[name])
    return {name: _summary(found) for name, found in times.items()}


def _summary(times: list[float]) -> Timed:
    ordered = sorted(times)
    quarter = len(ordered) // 4
    return Timed(median(ordered), ordered[quarter], ordered[-1 - quarter], len(ordered))

"""Architecture search on NAS-Bench-201, with and without experience, and the latency of a new device.

The file holds accuracies on test data only, so what is searched for and what is told are the same figure.

Settings of a strategy are chosen for each data set by the other two; those of the latency model on the devices that
HELP keeps for validation. What is measured is kept, so a stopped study goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.registry import strategies
from quickstudy.search import counts
from quickstudy.select.warm import Likings, Strategy, Tried
from quickstudy.space import Array, Values, key
from quickstudy.storage.json import read_json, write_json
from studies.cells_data import DATA, KEPT, PLACE, POINTS, accuracies, experienced, losses, others, seen
from studies.common import store
from studies.devices import latency, limited

RUNS, NEAR = 50, 0.1
"""Runs of a strategy, and how near to the best is found, in points."""
TUNING, TUNED, BEST = 8, 100, 5
"""Where settings are compared: runs, queries of each, and how many of the best cells are looked for."""


@dataclass(frozen=True)
class Way:
    """A strategy, what it is told of a cell, and after how many queries a run is given up."""

    strategy: str
    options: dict[str, Any] = field(default_factory=dict)
    describe: str = "counts"
    most: int = 200


WAYS = {
    "evolution": Way("evolution", {"population": 50, "sample": 10}, most=2000),
    "ridge on path encodings": Way("predicted", {"curved": 0.0, "noise": 0.1, "emphasis": False}, "paths"),
}
SETTINGS = {
    f"noise {noise:g}, curved {curved:g}, start {start}": Way(
        "predicted", {"noise": noise, "curved": curved, "start": start}
    )
    for noise, curved, start in product((0.03, 0.1, 0.3), (0.0, 0.1, 0.3, 1.0), (5, 10))
}
"""Settings of the predictor that are compared."""
_USUAL = {"noise": 0.1, "curved": 0.3, "start": 5}
PARTS = {
    "usual": Way("predicted", _USUAL),
    "a line alone": Way("predicted", _USUAL | {"curved": 0.0}),
    "scores as they are": Way("predicted", _USUAL | {"emphasis": False}),
    "a line in path encodings": Way("predicted", _USUAL | {"curved": 0.0}, "paths"),
    "a tenth by chance": Way("predicted", _USUAL | {"explore": 0.1}),
    "Thompson": Way("predicted", _USUAL | {"optimism": 0.3, "thompson": True}),
}
"""What each part of the predictor is worth: a usual setting, and others that differ in one thing."""


def good(data: int) -> NDArray[np.bool_]:
    """(15,625,), the cells within 0.1 points of the best."""
    column = accuracies()[:, data]
    return np.asarray(column >= column.max() - NEAR)


def searched(strategy: Strategy, describe: str, data: int, seed: int, most: int) -> Iterator[int]:
    """The cells that a search tries, one after another.

    All that is drawn in a run is of one generator, and not of one for each proposal, as in a `Search` that is stored:
    so are the runs that are kept.
    """
    space, column, rng = seen(describe), losses()[:, data], np.random.default_rng(seed)
    prepared = _prepared(strategy, describe, data)
    points: list[Values] = []
    places: list[int] = []
    names: list[str] = []
    for _ in range(most):
        point = strategy.propose(prepared, space, Tried(points, column[places], names), rng)
        points, names = [*points, point], [*names, key(point)]
        places.append(PLACE[names[-1]])
        yield places[-1]


@lru_cache(maxsize=2)
def _prepared(strategy: Strategy, describe: str, data: int) -> Any:
    return strategy.prepare(seen(describe), replace(others(data), space=seen(describe)), 0)


def queries(strategy: Strategy, describe: str, data: int, seed: int, most: int) -> int:
    """How many cells a search tries until one is good; most + 1 where it is given up."""
    goal = good(data)
    tried = enumerate(searched(strategy, describe, data, seed, most), start=1)
    return next((count for count, place in tried if goal[place]), most + 1)


def slowness(way: Way, data: int, seed: int) -> float:
    """The mean of log(queries until a cell is tried) over each of the best cells: what settings are compared by.

    It asks more than one good cell does, so that chance counts less.
    """
    best = set(np.argsort(-accuracies()[:, data], kind="stable")[:BEST].tolist())
    strategy = strategies.part(way.strategy, **way.options).build()
    tried = enumerate(searched(strategy, way.describe, data, seed, TUNED), start=1)
    seen = [count for count, place in tried if place in best]
    return float(np.log([*seen, *[TUNED + 1] * (BEST - len(seen))]).mean())


def _kept(title: str, data: int) -> Path:
    return KEPT / f"{title.replace(' ', '-').replace(',', '')}-{DATA[data]}.json"


def measured(title: str, way: Way, data: int) -> list[int]:
    """Queries of each run; taken from what is kept where they were measured before."""
    kept = _kept(title, data)
    found: list[int] = read_json(kept) if kept.exists() else []
    if len(found) < RUNS:
        strategy = strategies.part(way.strategy, **way.options).build()
        found += [queries(strategy, way.describe, data, seed, way.most) for seed in range(len(found), RUNS)]
        write_json(kept, found)
        print(title, DATA[data], median(found), flush=True)
    return found


def compared(title: str, data: int) -> float:
    """`slowness` of a setting, the mean over runs with seeds that no other measurement uses."""
    kept = _kept(f"slowness {title}", data)
    if not kept.exists():
        found = float(np.mean([slowness(SETTINGS[title], data, 1000 + seed) for seed in range(TUNING)]))
        write_json(kept, found)
        print("slowness", title, DATA[data], round(found, 3), flush=True)
    return float(read_json(kept))


def chosen(data: int) -> str:
    """The setting that is fastest on the other data sets."""
    rest = [other for other in range(len(DATA)) if other != data]
    return min(SETTINGS, key=lambda title: sum(compared(title, other) for other in rest))


def by_chance(good_cells: int, cells: int = 15_625) -> float:
    """The median number of cells drawn without replacement until one of the good ones is among them."""
    left, count = 1.0, 0
    while left > 0.5:
        left *= (cells - good_cells - count) / (cells - count)
        count += 1
    return float(count)


def down(order: Array, data: int, orders: int = 201) -> float:
    """How many cells are tried going down an order, the highest value first, until one is good: the median over
    orders of what is equal, which are by chance."""
    rng, goal, found = np.random.default_rng(0), good(data), []
    for _ in range(orders):
        rank = np.lexsort((rng.random(len(order)), -order))
        found.append(int(np.flatnonzero(goal[rank])[0]) + 1)
    return float(median(found))


def searches(data: int) -> dict[str, Any]:
    """Every row of the table for one data set."""
    rest = [other for other in range(len(DATA)) if other != data]
    setting, column = chosen(data), accuracies()
    likings: Likings = _prepared(experienced(), "counts", data).likings
    z = (column - column.mean(0)) / column.std(0)
    every = counts(POINTS)
    return {
        "good cells": int(good(data).sum()),
        "by chance": by_chance(int(good(data).sum())),
        "multiplications": down(every[:, -2], data),
        "runs": {title: measured(title, way, data) for title, way in WAYS.items()},
        "chosen": setting,
        "predicted": measured(setting, SETTINGS[setting], data),
        "parts": {title: measured(title, way, data) for title, way in PARTS.items()},
        "down": {DATA[other]: down(column[:, other], data) for other in rest},
        "down the mean": down(z[:, rest].mean(1), data),
        "experienced": queries(experienced(), "counts", data, 0, 200),
        "expected, unchanged": down(likings.liking.mean(0), data),
    }


def nas() -> None:
    found = {name: searches(data) for data, name in enumerate(DATA)}
    slow = {title: [compared(title, data) for data in range(len(DATA))] for title in SETTINGS}
    store("nas", {"searches": found, "slowness": slow, "latency": latency(), "limited": limited()})

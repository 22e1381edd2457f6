"""Architecture search on NAS-Bench-201, with and without experience, and the latency of a new device.

Needs $QUICKSTUDY_DATA/nas: accuracies of all 15,625 cells on three data sets, and their latencies on 27 devices. The
file holds accuracies on test data only, so what is searched for and what is told are the same figure.

Settings of a strategy are chosen for each data set by the other two; those of the latency model on the devices that
HELP keeps for validation. What is measured is kept, so a stopped study goes on.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.registry import strategies
from quickstudy.search import (
    Experience,
    Experienced,
    Pool,
    Search,
    Strategy,
    cell_space,
    counts,
    full,
    path_encoding,
    point_of,
)
from quickstudy.space import Array, key
from quickstudy.storage.json import read_json, write_json
from studies.common import store

KEPT = Path("runs/nas")
DATA = ("cifar10", "cifar100", "imagenet16-120")
RUNS, NEAR = 50, 0.1
"""Runs of a strategy, and how near to the best is found, in points."""
TUNING, TUNED, BEST = 8, 100, 5
"""Where settings are compared: runs, queries of each, and how many of the best cells are looked for."""
SPACE = cell_space()


@dataclass(frozen=True)
class Way:
    """A strategy, what it is told of a cell, and after how many queries a run is given up."""

    strategy: str
    options: dict[str, Any] = field(default_factory=dict)
    describe: str = "counts"
    most: int = 200


DESCRIBE = {"counts": counts, "paths": path_encoding}
WAYS = {
    "random": Way("random", most=15_625),
    "evolution": Way("evolution", {"population": 50, "sample": 10}, most=2000),
    "ridge on path encodings": Way("predicted", {"curved": 0.0, "noise": 0.1, "emphasis": False}, "paths"),
}
SETTINGS = {
    f"noise {noise:g}, curved {curved:g}, start {start}": Way(
        "predicted", {"noise": noise, "curved": curved, "start": start}
    )
    for noise, curved, start in product((0.03, 0.1, 0.3), (0.0, 0.1, 0.3, 1.0), (5, 10))
} | {  # what each part of it is worth
    "scores as they are": Way("predicted", {"emphasis": False}),
    "paths": Way("predicted", {}, "paths"),
    "a tenth by chance": Way("predicted", {"explore": 0.1}),
    "Thompson": Way("predicted", {"optimism": 0.3, "thompson": True}),
}  # fmt: skip
"""Settings of the predictor that are compared."""


@cache
def accuracies() -> Array:
    """(15,625, 3), in %, in the order of the space's points."""
    pool, found = _pool("counts"), np.full((15_625, len(DATA)), np.nan)
    with (_folder() / "nasbench201.csv").open() as file:
        for row in csv.DictReader(file):
            found[pool.place[key(point_of(row["architecture"]))]] = [float(row[name]) for name in DATA]
    return found


@cache
def latencies() -> dict[str, Array]:
    """Milliseconds (15,625,) of each device; NaN for the faults of measuring, those below 0.1 ms."""
    pool = _pool("counts")
    with (_folder() / "nasbench201.csv").open() as file:
        places = [pool.place[key(point_of(row["architecture"]))] for row in csv.DictReader(file)]
    with (_folder() / "latency_ms.csv").open() as file:
        names, *rows = csv.reader(file)
    table = np.empty((len(places), len(names)))
    table[places] = np.array(rows, dtype=np.float64)
    return {name: np.where(column < 0.1, np.nan, column) for name, column in zip(names, table.T, strict=True)}


def _folder() -> Path:
    return Path(os.environ["QUICKSTUDY_DATA"]) / "nas"


@cache
def _pool(describe: str) -> Pool:
    return Pool.of(SPACE, DESCRIBE[describe])


@cache
def rich() -> Array:
    return full(_pool("counts").points)


def good(data: int) -> NDArray[np.bool_]:
    """(15,625,), the cells within 0.1 points of the best."""
    column = accuracies()[:, data]
    return np.asarray(column >= column.max() - NEAR)


def searched(strategy: Strategy, describe: str, data: int, seed: int, most: int) -> Iterator[int]:
    """The cells that a search tries, one after another."""
    pool, column = _pool(describe), accuracies()[:, data]
    search = Search(SPACE, strategy, pool=pool, seed=seed)
    for _ in range(most):
        point = search.ask()
        place = pool.place[key(point)]
        yield place
        search.tell(point, float(column[place]) / 100)


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

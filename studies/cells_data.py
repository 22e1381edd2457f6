"""NAS-Bench-201's cells as the studies see them: accuracies, latencies, descriptions.

Needs $QUICKSTUDY_DATA/nas: `nasbench201.csv`, the accuracies of all 15,625 cells on three data sets (on test data only,
after 200 epochs), and `latency_ms.csv`, their latencies on 27 devices, in the same order.
"""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.search import cell_space, counts, full, path_encoding, point_of
from quickstudy.select.warm import Experience, Experienced
from quickstudy.space import Array, Describe, Space, Values, key

KEPT = Path("runs/nas")
DATA = ("cifar10", "cifar100", "imagenet16-120")
SPACE = cell_space()
DESCRIBE: dict[str, Describe] = {"counts": counts, "paths": path_encoding}
POINTS: list[Values] = list(SPACE.points())
PLACE = {key(point): i for i, point in enumerate(POINTS)}
"""The number of each cell, by `space.key`."""


@cache
def accuracies() -> Array:
    """(15,625, 3), in %, in the order of the space's points."""
    found = np.full((15_625, len(DATA)), np.nan)
    with (_folder() / "nasbench201.csv").open() as file:
        for row in csv.DictReader(file):
            found[PLACE[key(point_of(row["architecture"]))]] = [float(row[name]) for name in DATA]
    return found


@cache
def latencies() -> dict[str, Array]:
    """Milliseconds (15,625,) of each device; NaN for the faults of measuring, those below 0.1 ms."""
    with (_folder() / "nasbench201.csv").open() as file:
        places = [PLACE[key(point_of(row["architecture"]))] for row in csv.DictReader(file)]
    with (_folder() / "latency_ms.csv").open() as file:
        names, *rows = csv.reader(file)
    table = np.empty((len(places), len(names)))
    table[places] = np.array(rows, dtype=np.float64)
    return {name: np.where(column < 0.1, np.nan, column) for name, column in zip(names, table.T, strict=True)}


def _folder() -> Path:
    return Path(os.environ["QUICKSTUDY_DATA"]) / "nas"


@cache
def seen(describe: str = "counts") -> Space:
    """The cells as a strategy sees them."""
    return SPACE.described(DESCRIBE[describe])


@cache
def rich() -> Array:
    return full(POINTS)


def losses() -> Array:
    """(15,625, 3), the share that is wrong."""
    return np.asarray(1 - accuracies() / 100)


@cache
def others(data: int) -> Experience:
    """The trials of the other data sets: every cell."""
    found = Experience(SPACE)
    for k in range(len(DATA)):
        if k != data:
            found = found.task(DATA[k], POINTS, losses()[:, k].tolist())
    return found


def experienced(**options: Any) -> Experienced:
    """Begins with what the other data sets like."""
    return Experienced(level="logit", rich=full, **options)

"""NAS-Bench-201's cells as the studies see them: accuracies, latencies, descriptions.

Needs $QUICKSTUDY_DATA/nas: `nasbench201.csv`, the accuracies of all 15,625 cells on three data sets (on test data only,
after 200 epochs), and `latency_ms.csv`, their latencies on 27 devices, in the same order.
"""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np

from quickstudy.search import Pool, cell_space, counts, full, path_encoding, point_of
from quickstudy.space import Array, Values, key

KEPT = Path("runs/nas")
DATA = ("cifar10", "cifar100", "imagenet16-120")
SPACE = cell_space()
DESCRIBE = {"counts": counts, "paths": path_encoding}


@cache
def accuracies() -> Array:
    """(15,625, 3), in %, in the order of the space's points."""
    cells, found = pool(), np.full((15_625, len(DATA)), np.nan)
    with (_folder() / "nasbench201.csv").open() as file:
        for row in csv.DictReader(file):
            found[cells.place[key(point_of(row["architecture"]))]] = [float(row[name]) for name in DATA]
    return found


@cache
def latencies() -> dict[str, Array]:
    """Milliseconds (15,625,) of each device; NaN for the faults of measuring, those below 0.1 ms."""
    cells = pool()
    with (_folder() / "nasbench201.csv").open() as file:
        places = [cells.place[key(point_of(row["architecture"]))] for row in csv.DictReader(file)]
    with (_folder() / "latency_ms.csv").open() as file:
        names, *rows = csv.reader(file)
    table = np.empty((len(places), len(names)))
    table[places] = np.array(rows, dtype=np.float64)
    return {name: np.where(column < 0.1, np.nan, column) for name, column in zip(names, table.T, strict=True)}


def _folder() -> Path:
    return Path(os.environ["QUICKSTUDY_DATA"]) / "nas"


@cache
def pool(describe: str = "counts") -> Pool:
    return Pool.of(SPACE, DESCRIBE[describe])


@cache
def rich() -> Array:
    return full(pool().points)


def others(data: int) -> dict[str, tuple[list[Values], list[float]]]:
    """The trials of the other data sets, for `Experience.of`: every cell, with its accuracy as a share."""
    points = list(pool().points)
    return {DATA[k]: (points, (accuracies()[:, k] / 100).tolist()) for k in range(len(DATA)) if k != data}

"""What is known of a cell before training: scores of networks as they are drawn, beside what training makes of them.

All 15,625 cells of NAS-Bench-201, each once in a small network: 8 filters, one cell in a stage, 16 images of 16 × 16 of
noise. What is measured is kept in runs/nas.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from quickstudy.models import searched
from quickstudy.registry import sources
from quickstudy.search import text_of
from quickstudy.search.proxies import proxies
from quickstudy.space import Array, Values
from studies.cells_data import DATA, KEPT, POINTS, accuracies
from studies.common import interval, store

WIDTH, SIDE, EXAMPLES, CHUNK = 8, 16, 16, 500
NAMES = ("codes", "flow", "parameters", "operations")
SAMPLES, OF = 20, 1000


def build(point: Values) -> nn.Module:
    """The network of a cell, always drawn from the same seed."""
    spec = sources.make("glyphs", size=SIDE).spec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = searched(spec, cell=text_of(point), width=WIDTH, cells=1)
        return network


def looked_at() -> Array:
    """(15,625, 4), what is said of each cell."""
    path = KEPT / "untrained.npy"
    found = np.load(path) if path.exists() else np.zeros((0, len(NAMES)))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(EXAMPLES, 1, SIDE, SIDE, generator=generator)
    describe = proxies(build, images)
    while len(found) < len(POINTS):
        found = np.concatenate([found, describe(POINTS[len(found) : len(found) + CHUNK])])
        KEPT.mkdir(parents=True, exist_ok=True)
        np.save(path, found)
        print(f"{len(found):,} cells", flush=True)
    return found


def untrained() -> None:
    """Rank correlations with accuracies over samples of cells, and how far down a ranking the best ones are."""
    from scipy.stats import spearmanr

    torch.set_num_threads(1)
    table, rng = looked_at(), np.random.default_rng(0)
    drawn = [rng.choice(len(POINTS), OF, replace=False) for _ in range(SAMPLES)]
    rows: dict[str, Any] = {}
    for data, name in enumerate(DATA):
        reached = accuracies()[:, data]
        good = reached >= reached.max() - 0.1
        rows[name] = {}
        for column, score in zip(table.T, NAMES, strict=True):
            order = np.lexsort((rng.random(len(column)), -column))
            ranks = [float(spearmanr(column[some], reached[some]).statistic) for some in drawn]
            rows[name][score] = {"spearman": interval(ranks), "down": int(np.flatnonzero(good[order])[0]) + 1}
    facts = {"width": WIDTH, "side": SIDE, "examples": EXAMPLES, "samples": SAMPLES, "of": OF, "cells": len(POINTS)}
    store("untrained", {"found": rows, **facts})


if __name__ == "__main__":
    untrained()

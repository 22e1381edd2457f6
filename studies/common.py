"""What the studies share: means with intervals, and where results are stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

import quickstudy as qs
from quickstudy.engine import resolve_device
from quickstudy.storage.json import write_json
from quickstudy.storage.provenance import commit, machine

RESULTS = Path(__file__).parent / "results"


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean and half-width of its 95 % confidence interval (normal approximation), over `count` tasks."""
    return {"mean": mean(values), "ci95": 1.96 * stdev(values) / len(values) ** 0.5, "count": len(values)}


def slope(values: Sequence[float]) -> dict[str, float]:
    """Least-squares slope of the values over their number 0, 1, …, with the half-width of its 95 % interval."""
    y = torch.tensor(values, dtype=torch.float64)
    x = torch.arange(len(y), dtype=torch.float64)
    x = x - x.mean()
    found = float(x @ y / x.square().sum())
    left = y - y.mean() - found * x
    error = float((left.square().sum() / (len(y) - 2) / x.square().sum()).sqrt())
    return {"mean": found, "ci95": 1.96 * error, "count": len(y)}


def processes() -> int:
    """How many run at once: QUICKSTUDY_PROCESSES, or half as many as there are processors."""
    return int(os.environ.get("QUICKSTUDY_PROCESSES", max(1, (os.cpu_count() or 1) // 2)))


def in_processes(function: Callable[[Any], Any], cells: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Each cell with what `function` makes of it, in their order."""
    with ProcessPoolExecutor(processes(), get_context("spawn")) as pool:
        yield from zip(cells, pool.map(function, cells), strict=True)


def found_or_trained(config: qs.RunConfig, folder: Path) -> qs.Run:
    """The run that is kept in a folder, or is trained there."""
    return qs.Run(folder) if (folder / "model.safetensors").exists() else qs.train(config, out=folder, quiet=True)


def store(name: str, found: dict[str, Any]) -> None:
    """Write studies/results/<name>.json with where and when it was measured."""
    where = {
        "machine": machine(resolve_device("auto")),
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    write_json(RESULTS / f"{name}.json", {"where": where, **found})
    print(f"stored {name}", flush=True)

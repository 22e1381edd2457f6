"""`python -m benchmarks`: measure, and store what was found in benchmarks/results.json."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import compiling, episodes, latency, memory, metastep, processes, roofline, startup
from benchmarks.page import RESULTS
from benchmarks.timing import QUICK, Effort
from quickstudy.engine import keep_freed_memory
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.provenance import commit, machine

SECTIONS: dict[str, Callable[[bool], Iterator[Any]]] = {
    "meta-step": lambda quick: metastep.measure(QUICK if quick else Effort()),
    "roofline": lambda quick: roofline.measure(QUICK if quick else Effort(rounds=9, turn=0.1)),
    "memory": memory.measure,
    "episodes": lambda quick: episodes.measure(QUICK if quick else Effort()),
    "adaptation": lambda quick: latency.measure(QUICK if quick else Effort()),
    "compiling": compiling.measure,
    "processes": processes.measure,
    "start-up": startup.measure,
}
_PACKAGES = ("torch", "higher", "torchopt", "jax", "optax")


def where(quick: bool) -> dict[str, Any]:
    """Everything about this machine and moment that the figures depend on."""
    return {
        "machine": machine(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in _PACKAGES},
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "load": os.getloadavg()[0],
        "quick": quick,
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that it works, not to quote")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="measure these, keep others"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as a run of ours does; meta-steps are timed in other processes
    stored: dict[str, Any] = read_json(options.out) if options.out.exists() else {}
    for name in options.only:
        here = where(options.quick)
        for found in SECTIONS[name](options.quick):  # stored as it grows: a run that is stopped keeps what it has
            stored[name] = {"where": here, "found": found}
            write_json(options.out, {section: stored[section] for section in SECTIONS if section in stored})
    print(options.out)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Peak memory of one meta-step on one task of large images, each in a process of its own.

`python -m benchmarks.memory CONTESTANT STEPS` is that process; it prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.problems import Problem
from quickstudy.engine import keep_freed_memory

TITLE = "Conv4-32 with pooling, 84 × 84 × 3, 5-way 5-shot, 15 queries per class, one task"
STEPS = (1, 10, 40, 100)
QUICK_STEPS = (1, 3)
LIMIT = 16e9
_SECONDS = 1800
_PAGE = resource.getpagesize()


def _problem(size: int, steps: int) -> Problem:
    return Problem("conv4", steps, 0.01, tasks=1, size=size, channels=3, width=32, pool=True, shots=5)


def _ours(metagrad: str) -> Callable[[Problem], Any]:
    def make(problem: Problem) -> Any:
        from benchmarks.contestants import Ours
        from quickstudy.engine import Plan

        return Ours(problem, Plan("loop"), metagrad)

    return make


def _peer(name: str) -> Callable[[Problem], Any]:
    def make(problem: Problem) -> Any:
        from benchmarks.peers import PEERS

        return PEERS[name](problem)

    return make


CONTESTANTS = {
    "quickstudy, recompute": _ours("recompute"),
    "quickstudy, unrolled": _ours("unrolled"),
    "higher": _peer("higher"),
    "torchopt": _peer("torchopt"),
}


def _statm(field: int) -> int:
    """Bytes of this process: its address space (0) or what of it is in memory (1)."""
    return int(Path("/proc/self/statm").read_text().split()[field]) * _PAGE


def worker(name: str, steps: int, limit: float) -> dict[str, Any]:
    """Bytes above what the process held just before the step, and the step's seconds; or that it needs too much."""
    keep_freed_memory()
    make = CONTESTANTS[name]
    make(_problem(28, 1)).step()  # imports, kernels and threads are not part of what is measured
    contestant = make(_problem(84, steps))
    room = _statm(0) + int(limit)
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    base, began = _statm(1), time.perf_counter()
    try:
        contestant.step()
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        return {"bytes": None, "seconds": None}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"bytes": peak - base, "seconds": time.perf_counter() - began}


def _available() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return float(line.split()[1]) * 1024
    return LIMIT


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """A row for each contestant and number of steps; what is found so far."""
    rows, limit = [], min(LIMIT, 0.8 * _available())
    for steps in QUICK_STEPS if quick else STEPS:
        for name in CONTESTANTS:
            print(f"memory: {name}, {steps} inner steps", file=sys.stderr)
            command = [sys.executable, "-m", "benchmarks.memory", name, str(steps), str(limit)]
            row: dict[str, Any] = {"name": name, "steps": steps}
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
                row |= json.loads(done.stdout) if done.returncode == 0 else {"error": _last(done.stderr)}
            except subprocess.TimeoutExpired:
                row["error"] = f"stopped after {_SECONDS} s"
            rows.append(row)
            yield {"title": TITLE, "limit": limit, "rows": rows}


def _last(text: str) -> str:
    return next(iter(text.strip().splitlines()[-1:]), "the process was killed")


if __name__ == "__main__":
    print(json.dumps(worker(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))

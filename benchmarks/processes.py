"""What a second process gains: one meta-step of MAML on Conv4, alone and split over two, each with one thread.

`torchrun --nproc-per-node=2 -m benchmarks.processes ROUNDS` are those processes; the first prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch

from benchmarks.contestants import Ours, Outer
from benchmarks.problems import META_STEPS
from quickstudy.engine import Plan, keep_freed_memory
from quickstudy.engine.distribute import join
from quickstudy.episode import map_episode

PROBLEM = "conv4-1"
_SECONDS = 900


def worker(rounds: int) -> dict[str, Any]:
    """Seconds of the whole meta-step in the first process while the other waits, and in both together, in turn."""
    torch.set_num_threads(1)
    keep_freed_memory()
    group, problem = join(), META_STEPS[PROBLEM][1]
    ours = Ours(problem, Plan("loop"))
    outer = Outer(list(ours.params.values()))
    whole = ours.episodes
    mine = map_episode(group.share, whole)

    def alone() -> None:
        if group.leads:
            outer.step(list(ours.engine.gradients(ours.params, whole)[0].values()))

    def together() -> None:
        (grads, _, _), _ = group.mean(
            lambda: ours.engine.gradients(ours.params, mine), ours.params, problem.tasks, list, "two processes"
        )
        outer.step([grads[name] for name in ours.params])

    def seconds(call: Callable[[], None]) -> float:
        group.copy(outer.leaves, "the start")
        began = time.perf_counter()
        call()
        group.wait("the end")
        return time.perf_counter() - began

    seconds(alone), seconds(together)
    turns = [(seconds(alone), seconds(together)) for _ in range(rounds)]
    one, two = (list(column) for column in zip(*turns, strict=True))
    names = {"one process": one, "two processes": two}
    rows = [{"name": name, "seconds": median(times), "turns": rounds} for name, times in names.items()]
    return {"title": f"{META_STEPS[PROBLEM][0]}, {problem.tasks} tasks, one thread each", "rows": rows}


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """Both times; the processes are started by torchrun."""
    print("processes", file=sys.stderr)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, "-m", "benchmarks.processes", "2" if quick else "15"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=_SECONDS, check=True)
    yield json.loads(done.stdout)


if __name__ == "__main__":
    found = worker(int(sys.argv[1]))
    if join().leads:
        print(json.dumps(found))

"""How long compiling takes, each in a process of its own with an empty cache.

`python -m benchmarks.compiling WHAT` is that process; it prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from quickstudy.registry import learners

CONV4_STEPS = (1, 5, 40)
_SECONDS = 900


def _conv4(steps: int) -> Any:
    from benchmarks.contestants import Ours
    from benchmarks.problems import Problem
    from quickstudy.engine import Plan

    return Ours(Problem("conv4", steps, 0.4, tasks=1), Plan("loop", compiled="parts")).gradient


def _learner(name: str, dtype: Any) -> tuple[Any, Any]:
    """The meta-gradient of a registered learner with a small network, compiled as its tuner would; and eager."""
    import torch

    import quickstudy as qs
    from quickstudy.engine.tune import compilable
    from quickstudy.episode import map_episode
    from quickstudy.training.build import build

    def cast(value: torch.Tensor) -> torch.Tensor:
        return value.to(dtype) if value.is_floating_point() else value

    x = torch.rand((400, 16), generator=torch.Generator().manual_seed(0))
    source = qs.tasks.arrays(x, [i % 20 for i in range(400)])
    model, learner = qs.registry.models.part("mlp", width=32), learners.part(name)
    config = qs.RunConfig(name=name, model=model, learner=learner, ways=5, shots=2, queries=5, device="cpu")
    parts = build(config, source=source)
    engine = parts.training_engine
    params = {n: cast(v) for n, v in engine.learner.init(torch.Generator().manual_seed(0)).items()}
    arguments = (params, map_episode(cast, parts.training.episodes("train", torch.arange(4))), torch.arange(4))
    plan, _ = compilable(engine, arguments)
    compiled = engine.planned(plan)
    return lambda: compiled.gradients(*arguments)[0], lambda: engine.gradients(*arguments)[0]


def worker(what: str) -> dict[str, Any]:
    """Seconds of the first call, which compiles and compares with eager code, above those of a later one.

    Of a learner also the relative difference between compiled and eager meta-gradients in float64.
    """
    import torch

    from benchmarks.metastep import apart

    kind, _, value = what.partition(":")
    call = _conv4(int(value)) if kind == "conv4" else _learner(value, torch.float32)[0]
    began = time.perf_counter()
    call()
    first = time.perf_counter()
    call()
    found = {"seconds": first - began - (time.perf_counter() - first)}
    if kind == "learner":
        compiled, eager = _learner(value, torch.float64)
        found["difference"] = apart(eager(), compiled())
    return found


def measure(quick: bool) -> Iterator[dict[str, Any]]:
    """A row for each learner and for MAML on Conv4 with several numbers of inner steps; what is found so far."""
    names = {f"conv4:{steps}": f"maml, Conv4-64, {steps} inner steps" for steps in CONV4_STEPS}
    names |= {f"learner:{name}": f"{name}, small network" for name in learners}
    rows = []
    for what, title in list(names.items())[:: len(CONV4_STEPS) if quick else 1]:
        print(f"compiling: {title}", file=sys.stderr)
        row: dict[str, Any] = {"name": title, "steps": int(what[6:]) if what.startswith("conv4:") else None}
        with tempfile.TemporaryDirectory() as cache:
            # In the folder for temporary files PyTorch keeps what it makes of its headers, whatever its cache is.
            environment = os.environ | {
                "TMPDIR": cache,
                "TORCHINDUCTOR_CACHE_DIR": cache,
                "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
            }
            command = [sys.executable, "-m", "benchmarks.compiling", what]
            try:
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
                )
                lines = done.stderr.strip().splitlines() or ["the process was killed"]
                row |= json.loads(done.stdout) if done.returncode == 0 else {"error": lines[-1]}
            except subprocess.TimeoutExpired:
                row["error"] = f"stopped after {_SECONDS} s"
        rows.append(row)
        yield {"title": "the first call above a later one, with an empty cache", "rows": rows}


if __name__ == "__main__":
    print(json.dumps(worker(sys.argv[1])))

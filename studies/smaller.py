"""How much faster than Conv4-64 a network on Omniglot can be that is as good: found and trained in the same minutes.

`python -m studies.smaller` trains Conv4-64 by the recipe of the published protocol, without its validation characters,
and searches for a network that answers in less than a third of its time; each takes MINUTES of one core. Both are then
measured on the same test tasks, and timed in turn in one process. What is done is kept in runs/smaller.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from quickstudy.choosing.search import VALIDATIONS
from quickstudy.choosing.trial import Attempt, attempt
from quickstudy.engine import resolve_device
from quickstudy.episode import map_features
from quickstudy.registry import recipes
from quickstudy.runs.run import Run
from quickstudy.search.architecture import search
from quickstudy.search.found import Found
from quickstudy.search.timing import cost_of, milliseconds
from quickstudy.storage.provenance import commit, machine
from quickstudy.training.config import RunConfig
from studies.common import store

KEPT = Path("runs/smaller")
MINUTES, SEED, EPISODES, TASKS = 20.0, 0, 1000, 384
SIZES = {"5-way 1-shot": (5, 1), "20-way 1-shot": (20, 1), "20-way 5-shot": (20, 5)}
_SHARE, _MARGIN = 1 / 3, 0.97  # the limit lies a little lower, as times of two measurements differ
_ROUNDS = 100


def config() -> RunConfig:
    """The published protocol's recipe, with characters held out for validation, on one core."""
    known = recipes["omniglot-protonet"]()
    root = str(Path(os.environ.get("QUICKSTUDY_DATA", "."), "omniglot"))
    tasks = replace(known.tasks, options={**known.tasks.options, "trainval": False, "root": root})
    return replace(known, tasks=tasks, device="cpu", seed=SEED, compile="off", protocols=(), shots=1, ways=20)


def reference() -> Run:
    folder = KEPT / "conv4"
    if not (folder / "done").exists():
        asked = Attempt(config().settled().to_json(), str(folder), 60 * MINUTES, TASKS, validations=VALIDATIONS)
        attempt(asked)
        (folder / "done").touch()
    return Run(folder)


def found(under: float) -> Found:
    folder = KEPT / "search"
    if not (folder / "done").exists():
        search(config(), under=under, minutes=MINUTES, out=folder)
        (folder / "done").touch()
    return Found(folder)


def smaller() -> None:
    torch.set_num_threads(1)
    KEPT.mkdir(parents=True, exist_ok=True)
    large = reference()
    network = large.learner.networks[""].module.cpu()
    example = large.parts.source.episodes("val", torch.zeros(1, dtype=torch.int64)).support.x
    example = map_features(lambda leaf: leaf[0, :1].cpu(), example)
    before = milliseconds([network], example, _ROUNDS)[0]
    small = found(_SHARE * _MARGIN * before)
    other = small.run.learner.networks[""].module.cpu()
    times = milliseconds([network, other], example, _ROUNDS)
    rows: dict[str, Any] = {}
    for name, run, module, taken in (
        ("Conv4-64", large, network, times[0]),
        ("found", small.run, other, times[1]),
    ):
        cost = cost_of(module, example, taken)
        reached = {}
        for size, (ways, shots) in SIZES.items():
            told = run.evaluate(
                ways=ways, shots=shots, queries=5, episodes=EPISODES, seed=SEED + 1, compare_supports=False
            )
            reached[size] = {"mean": told.mean, "ci95": told.ci95, "values": told.values}
        rows[name] = {
            "milliseconds": cost.milliseconds, "parameters": cost.parameters, "operations": cost.operations,
            "reached": reached, "steps": run.kept["step"], "model": run.config.to_json()["model"],
        }  # fmt: skip
    facts = {"minutes": MINUTES, "episodes": EPISODES, "seed": SEED, "looked at": len(small.state["candidates"])}
    store("smaller", {"found": rows, **facts, "commit": commit(), "machine": machine(resolve_device("cpu"))})


if __name__ == "__main__":
    smaller()

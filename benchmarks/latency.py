"""How long learning one new task takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.problems import Problem
from benchmarks.timing import Effort, alternate, repeated
from quickstudy.episode import Examples, task
from quickstudy.learners import Learner, maml, protonet
from quickstudy.models import conv4

TITLE = "one 5-way 1-shot task of 28 × 28 images, Conv4-64; prediction of its 75 queries"


def _learners() -> dict[str, Learner]:
    problem = Problem("conv4", 5, 0.4, tasks=1)
    return {
        "protonet": protonet(conv4(problem.spec, head=False), problem.spec, norm="batch"),
        "maml, 5 steps": maml(problem.module(), problem.spec, lr=0.4, steps=5, norm="batch"),
    }


def measure(effort: Effort) -> Iterator[dict[str, Any]]:
    """Seconds to adapt, and to adapt and predict; eager, without gradients."""
    print("adaptation", file=sys.stderr)
    episode = task(Problem("conv4", 5, 0.4, tasks=1).episodes, 0)
    calls: dict[str, Callable[[], object]] = {}
    for name, learner in _learners().items():
        calls[f"{name}: adapt"] = _adapt(learner, episode.support, None)
        calls[f"{name}: adapt and predict"] = _adapt(learner, episode.support, episode.query)
    timed = alternate({name: repeated(call) for name, call in calls.items()}, effort)
    yield {"title": TITLE, "rows": [{"name": name, **vars(timed[name])} for name in calls]}


def _adapt(learner: Learner, support: Examples, query: Examples | None) -> Callable[[], object]:
    params = learner.init(torch.Generator().manual_seed(0))

    def run() -> object:
        with torch.no_grad():
            state = learner.adapt(params, support)
            return state if query is None else learner.predict(params, state, query.x)

    return run

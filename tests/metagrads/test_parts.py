"""Estimators in parts: the same gradient, and no more parts for more inner steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_tasks import VECTORS, episodes, generator, perceptron, random_params

from quickstudy.engine import Engine, Plan
from quickstudy.engine.compile import Captured
from quickstudy.learners import imaml, maml
from quickstudy.learners.iterative import IterativeLearner

CPU = torch.device("cpu")
CASES: dict[str, dict[str, Any]] = {
    "first_order": {},
    "reptile": {},
    "implicit": {"iterations": 3},
    "truncated": {"last": 2},
    "recompute": {},
    "unrolled": {},
}


def learner(estimator: str, steps: int) -> IterativeLearner:
    make: Any = imaml if estimator == "implicit" else maml
    made: IterativeLearner = make(perceptron(VECTORS, 3), VECTORS, lr=0.1, steps=steps, rule="adam")
    return made


@pytest.mark.parametrize("estimator", CASES)
def test_an_inner_step_is_captured_once_however_many_there_are(estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, counts, captures = episodes(VECTORS), [], list[str]()
    capture = Captured._made
    monkeypatch.setattr(Captured, "_made", lambda part, *given: (captures.append(""), capture(part, *given))[1])
    for steps in (3, 8):
        captures.clear()
        made = learner(estimator, steps)
        params = random_params(made.init(generator()))
        engine = Engine(made, CPU, metagrad=estimator, metagrad_options=CASES[estimator])
        wanted, in_parts = engine.gradients(params, batch), engine.planned(Plan("vmap", "parts"))
        found = in_parts.gradients(params, batch)
        for name, grad in wanted[0].items():
            torch.testing.assert_close(found[0][name], grad, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found[1:], wanted[1:])
        counts.append(len(captures))
    assert counts[0] == counts[1] > 0

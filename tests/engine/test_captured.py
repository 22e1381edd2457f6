"""Every learner's meta-gradient can be captured as a graph, for one task by itself and for many at once."""

from __future__ import annotations

import pytest
import torch
from small_tasks import VECTORS, episodes, generator, random_params
from test_compile import CPU, assert_same, build

from quickstudy.engine import Engine, Plan
from quickstudy.registry import learners


@pytest.mark.parametrize(
    "name", [n for n in learners if n != "memory" and not learners.traits(n).dense and not learners.traits(n).acts]
)  # memory fits its one layer in closed form
def test_one_task_by_itself_is_captured(name: str) -> None:
    learner, batch = build(name), episodes(VECTORS, 1)
    params = random_params(learner.init(generator()))
    engine = Engine(learner, CPU, "loop")
    keys = torch.arange(1)
    captured = engine.planned(Plan("loop", "whole")).gradients(params, batch, keys)
    assert_same(captured, engine.gradients(params, batch, keys), rtol=1e-10, atol=1e-12)

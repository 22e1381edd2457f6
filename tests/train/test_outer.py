"""The outer optimizer: what it is given, and what it makes of it."""

from __future__ import annotations

import pytest
import torch

from quickstudy.registry import learners, models
from quickstudy.train.config import RunConfig
from quickstudy.train.outer import Outer


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD", "RMSprop", "Muon"])
def test_how_a_gradient_lies_in_memory_changes_nothing(optimizer: str) -> None:
    config = RunConfig(name="x", model=models.part("mlp"), learner=learners.part("maml"), optimizer=optimizer)
    gradient = torch.arange(12.0).reshape(3, 4)
    found = []
    for grad in (gradient, gradient.t().contiguous().t(), gradient.repeat_interleave(2, 1)[:, ::2]):
        outer = Outer({"network.weight": torch.zeros(3, 4)}, config)
        for _ in range(2):
            outer.step({"network.weight": grad}, grad.norm())
        found.append(outer.params["network.weight"])
    assert found[0].abs().sum() > 0
    assert all(torch.equal(one, found[0]) for one in found)

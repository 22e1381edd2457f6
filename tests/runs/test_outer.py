"""The outer optimizer: what it is given, and what it makes of it."""

from __future__ import annotations

import pytest
import torch

from quickstudy.registry import learners, models
from quickstudy.training.config import RunConfig
from quickstudy.training.outer import Outer


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD", "RMSprop", "Muon"])
def test_how_a_gradient_lies_in_memory_changes_nothing(optimizer: str) -> None:
    config = RunConfig(name="x", model=models.part("mlp"), learner=learners.part("maml"), optimizer=optimizer)
    gradient = torch.randn((3, 4), generator=torch.Generator().manual_seed(0))
    found = []
    for grad in (gradient, gradient.t().contiguous().t(), gradient.repeat_interleave(2, 1)[:, ::2]):
        outer = Outer({"network.weight": torch.zeros(3, 4)}, config.outer)
        for _ in range(2):
            outer.step({"network.weight": grad}, grad.norm())
        found.append(outer.params | outer.slots())
    assert found[0]["network.weight"].abs().sum() > 0
    for other in found[1:]:
        assert all(torch.equal(value, other[name]) for name, value in found[0].items())

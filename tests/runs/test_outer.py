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


@pytest.mark.parametrize("iterations", [1, 2, 10, 19, 20, 21, 40])
def test_one_cycle_rises_in_any_number_of_steps(iterations: int) -> None:
    """PyTorch's own divides by zero where the rise is one step long: 5 % of 20."""
    config = RunConfig(
        name="x",
        model=models.part("mlp"),
        learner=learners.part("maml"),
        lr=0.5,
        iterations=iterations,
        schedule="OneCycleLR",
        schedule_options={"pct_start": 0.05, "cycle_momentum": False},
    )
    outer = Outer({"network.weight": torch.zeros(2)}, config.outer)
    rates = outer.rates
    for _ in range(iterations - 1):
        outer.step({"network.weight": torch.ones(2)}, torch.ones(()))
        rates += outer.rates
    assert all(0 < rate <= 0.5 for rate in rates)
    if iterations >= 20:
        assert max(rates) > 0.99 * 0.5 and rates[-1] < rates[0]

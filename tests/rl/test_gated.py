"""The recurrent unit over sequences: its own backward pass, steps, and many tasks at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quickstudy.errors import ModelError
from quickstudy.rl.agents.gated import gated, gated_sequence

STEPS, WIDTH = 7, 4


def drawn() -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    shapes = (STEPS, 3 * WIDTH), (3 * WIDTH, WIDTH), (3 * WIDTH,)
    entering, weight, bias = (torch.randn(s, generator=draw, dtype=torch.float64, requires_grad=True) for s in shapes)
    stays = torch.tensor([1.0, 1, 1, 0, 1, 1, 1], dtype=torch.float64)
    return entering, weight, bias, stays, torch.linspace(-1, 1, WIDTH, dtype=torch.float64)


def by_steps(entering: Tensor, weight: Tensor, bias: Tensor, stays: Tensor, begin: Tensor) -> Tensor:
    h, states = begin, []
    for t in range(len(entering)):
        h = gated(entering[t], h * stays[t], weight, bias)
        states.append(h)
    return torch.stack(states)


def test_a_sequence_is_its_steps() -> None:
    torch.testing.assert_close(gated_sequence(*drawn()), by_steps(*drawn()))


def test_the_unit_is_that_of_torch() -> None:
    _, weight, bias, _, _ = drawn()
    cell = torch.nn.GRUCell(3, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        cell.weight_hh.copy_(weight)
        cell.bias_hh.copy_(bias)
    x, h = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(gated(x @ cell.weight_ih.T + cell.bias_ih, h, weight, bias), cell(x, h))


def test_its_gradient_is_that_of_finite_differences() -> None:
    *moving, stays, begin = drawn()
    assert torch.autograd.gradcheck(lambda *given: gated_sequence(*given, stays, begin), moving)


def test_tasks_at_once_are_tasks_one_by_one() -> None:
    _, weight, bias, stays, begin = drawn()
    entering = torch.randn(5, STEPS, 3 * WIDTH, dtype=torch.float64, requires_grad=True)
    both = []
    for function in (gated_sequence, by_steps):
        found = torch.func.vmap(function, in_dims=(0, None, None, None, None))(entering, weight, bias, stays, begin)
        both.append((found, *torch.autograd.grad(found.square().sum(), (entering, weight, bias))))
    torch.testing.assert_close(both[0], both[1])


def test_weights_of_each_task_are_refused() -> None:
    entering, weight, bias, stays, begin = drawn()
    with pytest.raises(ModelError, match="vectorize='loop'"):
        torch.func.vmap(gated_sequence, in_dims=(None, 0, None, None, None))(entering, weight[None], bias, stays, begin)

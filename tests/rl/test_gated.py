"""The recurrent unit over sequences: its own backward pass, steps, and many tasks at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quickstudy.errors import ModelError
from quickstudy.rl.agents.cores.gated import gated, gated_sequence
from quickstudy.rl.agents.cores.products import product

STEPS, WIDTH, FEATURES = 7, 4, 3


def drawn() -> tuple[Tensor, ...]:
    """z, the weights of what enters and of the state, and what it begins with."""
    draw = torch.Generator().manual_seed(0)
    shapes = (STEPS, FEATURES), (3 * WIDTH, FEATURES), (3 * WIDTH,), (3 * WIDTH, WIDTH), (3 * WIDTH,)
    moving = (torch.randn(shape, generator=draw, dtype=torch.float64, requires_grad=True) for shape in shapes)
    return *moving, torch.linspace(-1, 1, WIDTH, dtype=torch.float64)


def by_steps(z: Tensor, enter: Tensor, entering: Tensor, weight: Tensor, bias: Tensor, begin: Tensor) -> Tensor:
    h, states = begin, []
    for t in range(len(z)):
        h = gated(z[t] @ enter.T + entering, h, weight, bias)
        states.append(h)
    return torch.stack(states)


def test_a_sequence_is_its_steps() -> None:
    torch.testing.assert_close(gated_sequence(*drawn()), by_steps(*drawn()))


def test_the_unit_is_that_of_torch() -> None:
    _, enter, entering, weight, bias, _ = drawn()
    cell = torch.nn.GRUCell(FEATURES, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        for own, given in zip(cell.parameters(), (enter, weight, entering, bias), strict=True):
            own.copy_(given)
    x, h = torch.randn(5, FEATURES, dtype=torch.float64), torch.randn(5, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(gated(x @ enter.T + entering, h, weight, bias), cell(x, h))


def test_its_gradient_is_that_of_finite_differences() -> None:
    *moving, begin = drawn()
    assert torch.autograd.gradcheck(lambda *given: gated_sequence(*given, begin), moving)


def test_tasks_at_once_are_tasks_one_by_one() -> None:
    _, *rest = drawn()
    z = torch.randn(5, STEPS, FEATURES, dtype=torch.float64, requires_grad=True)
    both = []
    for function in (gated_sequence, by_steps):
        found = torch.func.vmap(function, in_dims=(0, *[None] * 5))(z, *rest)
        both.append((found, *torch.autograd.grad(found.square().sum(), (z, *rest[:4]))))
    torch.testing.assert_close(both[0], both[1])


def test_weights_of_each_task_are_refused() -> None:
    z, enter, entering, weight, *rest = drawn()
    with pytest.raises(ModelError, match="vectorize='loop'"):
        torch.func.vmap(gated_sequence, in_dims=(None, None, None, 0, *[None] * 2))(
            z, enter, entering, weight[None], *rest
        )


def test_products_are_those_of_linear_layers() -> None:
    x, weight, bias = torch.randn(64, 12), torch.randn(9, 12), torch.randn(9)
    expected = torch.nn.functional.linear(x.double(), weight.double(), bias.double()).float()
    torch.testing.assert_close(product(x, weight, bias), expected, rtol=1e-5, atol=1e-5)
    wide = torch.randn(64, 30)[:, 9:21]  # rows that lie apart, and weights laid out the other way round
    torch.testing.assert_close(product(wide, weight.T.contiguous().T), wide @ weight.T, rtol=1e-5, atol=1e-5)


def test_products_can_be_differentiated_transformed_and_traced() -> None:
    x, weight = torch.randn(64, 12), torch.randn(9, 12, requires_grad=True)
    (slope,) = torch.autograd.grad(product(x, weight).sum(), weight)
    torch.testing.assert_close(slope, x.sum(0).expand(9, 12))
    transformed = torch.func.grad(lambda w: product(x, w).sum())(weight.detach())
    torch.testing.assert_close(transformed, slope)
    with torch.no_grad():
        many = torch.func.vmap(product, in_dims=(0, None))(x.expand(3, 64, 12), weight)
    torch.testing.assert_close(many, (x @ weight.T).expand(3, 64, 9).detach())

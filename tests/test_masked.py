"""Means and spreads of real examples, against the same of only these."""

from __future__ import annotations

import pytest
import torch

from quickstudy import masked
from quickstudy.episode import Examples
from quickstudy.masked import class_means, masked_mean, mean_and_spread

MASK = torch.tensor([True, False, True, True])


def test_a_mean_is_that_of_the_real_values_and_none_have_the_mean_zero() -> None:
    values = torch.tensor([1.0, 1e6, 2.0, 6.0])
    assert float(masked_mean(values, MASK)) == 3.0
    assert float(masked_mean(values, torch.zeros(4, dtype=torch.bool))) == 0.0


def test_class_means_leave_padding_out_and_say_which_classes_there_are() -> None:
    z = torch.tensor([[1.0, 2.0], [50.0, 50.0], [3.0, 6.0], [5.0, 5.0]])
    means, present = class_means(z, Examples(z, torch.tensor([0, 1, 0, 2]), MASK), 4)
    assert means.tolist() == [[2.0, 4.0], [0.0, 0.0], [5.0, 5.0], [0.0, 0.0]]
    assert present.tolist() == [True, False, True, False]


@pytest.mark.parametrize("padding", [1e6, float("nan"), float("inf")])
def test_a_spread_is_that_of_the_known_values_whatever_the_others_are(padding: float) -> None:
    values = torch.tensor([[1.0, padding, 4.0, 7.0]], dtype=torch.float64)
    mean, spread = mean_and_spread(values, MASK, dim=-1)
    known = values[:, MASK]
    torch.testing.assert_close(mean, known.mean(-1, keepdim=True))
    torch.testing.assert_close(spread, known.std(-1, keepdim=True, correction=0))


@pytest.mark.parametrize("value", [0.0, 0.1, 7e6])
def test_values_that_are_all_alike_have_no_spread_and_no_gradient_of_it(value: float) -> None:
    values = torch.full((5,), value).requires_grad_()
    spread = mean_and_spread(values, torch.ones(5, dtype=torch.bool), dim=0)[1]
    assert float(spread.detach()) == 0.0
    assert torch.autograd.grad(spread.sum(), values)[0].tolist() == [0.0] * 5


def test_the_gradient_of_a_spread_is_that_of_finite_differences() -> None:
    values = torch.tensor([1.0, 9.0, 4.0, 7.0], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: mean_and_spread(v, MASK, dim=0), (values,))


def test_class_means_of_many_classes_are_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y, mask = torch.randn(50, 4), torch.randint(-1, 7, (50,)), torch.rand(50) > 0.2
    few = class_means(z, Examples(z, y, mask), 7)
    monkeypatch.setattr(masked, "_MANY", 10)
    many = class_means(z, Examples(z, y, mask), 7)
    torch.testing.assert_close(many[0], few[0])
    assert torch.equal(many[1], few[1])

"""The small regressions behind trust, against closed forms and known truths."""

from __future__ import annotations

import torch

from quickstudy.trust.quantiles import fitted_quantiles
from quickstudy.trust.regress import Linear, crossed, logistic, quantile, ridge, weighted_quantile


def drawn(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, 2), generator=generator, dtype=torch.float64), generator


def test_ridge_without_a_penalty_is_least_squares() -> None:
    x, generator = drawn(200)
    x = x.clamp(-3, 3)
    y = 3 + 2 * x[:, 0] - x[:, 1] + 0.1 * torch.randn(200, generator=generator, dtype=torch.float64)
    found = ridge(x, y, penalty=0.0)
    exact = torch.linalg.lstsq(torch.cat([torch.ones(200, 1, dtype=x.dtype), x], 1), y[:, None]).solution[:, 0]
    assert torch.allclose(found(x), exact[0] + x @ exact[1:], atol=1e-9)


def test_a_line_is_not_followed_beyond_what_it_was_fitted_to() -> None:
    line = Linear((0.0,), (1.0,), (2.0,), 1.0)
    assert line(torch.tensor([[1.0], [4.0], [1e6]])).tolist() == [3.0, 9.0, 9.0]


def test_logistic_regression_finds_the_gradient_of_its_loss_to_be_zero() -> None:
    x, generator = drawn(500)
    y = torch.rand(500, generator=generator) < (1 + 2 * x[:, 0]).sigmoid()
    found = logistic(x, y, torch.ones(500), penalty=0.0)
    rest = found(x).sigmoid() - y.double()
    assert float(rest.mean().abs()) < 1e-5
    assert float((rest[:, None] * x).mean(0).abs().max()) < 1e-4


def test_quantile_regression_has_its_share_below_it_everywhere() -> None:
    """Of a normal of mean x₁ and spread exp(x₂ / 4): the quantile is not linear, its share is right on average."""
    x, generator = drawn(20000)
    y = x[:, 0] + (x[:, 1] / 4).exp() * torch.randn(20000, generator=generator, dtype=torch.float64)
    for level in (0.1, 0.5, 0.9):
        line = quantile(x, y, level, torch.ones(20000))
        below = (y <= line(x)).double()
        assert abs(float(below.mean()) - level) < 0.005
        assert abs(float(below[x[:, 1] > 0.5].mean()) - level) < 0.03


def test_a_weighted_quantile_is_that_of_repeated_values() -> None:
    values, weight = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 1.0])
    every = [1.0, 1.0, 2.0, 3.0]
    for i, value in enumerate(every):
        assert weighted_quantile(values, weight, (i + 1) / 4) == value


def test_every_task_is_tried_once_on_what_was_fitted_without_it() -> None:
    parts = crossed(11, 3, 0)
    assert sorted(int(i) for _, held in parts for i in held) == list(range(11))
    assert all(not set(fit.tolist()) & set(held.tolist()) for fit, held in parts)


def test_quantiles_follow_the_size_of_a_task() -> None:
    """Values of a task are normal about its feature: new tasks have the promised share below, at each feature."""
    generator = torch.Generator().manual_seed(0)
    place = torch.rand((300, 1), generator=generator, dtype=torch.float64)
    values = [5 * at + torch.randn(60, generator=generator, dtype=torch.float64) for at in place]
    found = fitted_quantiles(list(place), values, (0.05, 0.2, 0.5), 0)
    for level, exact in ((0.05, -1.645), (0.1, -1.2816), (0.2, -0.8416)):
        for at in (0.1, 0.9):
            assert abs(float(found.at(level, torch.tensor([at]))) - 5 * at - exact) < 0.15

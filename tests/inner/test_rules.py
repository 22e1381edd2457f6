"""Inner rules against torch.optim and hand formulas; partitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.inner import SGD, Adam, Momentum, Partition, Rule

SHAPES = {"w": (3, 2), "b": (3,)}


def _gradients(steps: int) -> list[dict[str, Tensor]]:
    return [{n: torch.randn(s, dtype=torch.float64) for n, s in SHAPES.items()} for _ in range(steps)]


@pytest.mark.parametrize(
    ("rule", "optimizer", "options"),
    [
        (SGD(lr=0.1), torch.optim.SGD, {"lr": 0.1}),
        (Momentum(lr=0.1, decay=0.8), torch.optim.SGD, {"lr": 0.1, "momentum": 0.8}),
        (Adam(lr=0.1), torch.optim.Adam, {"lr": 0.1}),
        (Adam(lr=0.1, beta1=0.5, beta2=0.9, eps=1e-3), torch.optim.Adam, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    ],
)
def test_a_rule_moves_as_torch_s_optimizer_on_the_same_gradients(
    rule: Rule, optimizer: type[torch.optim.Optimizer], options: dict[str, object]
) -> None:
    params = {name: torch.randn(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    theirs = {name: value.clone().requires_grad_() for name, value in params.items()}
    torchs = optimizer(theirs.values(), **options)  # type: ignore[call-arg]
    hyper, state = rule.init_hyper(params), rule.init(params)
    for grads in _gradients(6):
        for name, value in theirs.items():
            value.grad = grads[name].clone()
        torchs.step()
        updates, after = rule.update(hyper, grads, state, params)
        assert {n: (t.shape, t.dtype) for n, t in after.items()} == {n: (t.shape, t.dtype) for n, t in state.items()}
        params, state = {name: value + updates[name] for name, value in params.items()}, after
        for name, value in params.items():
            torch.testing.assert_close(value, theirs[name].detach(), rtol=1e-10, atol=1e-12)


def test_adam_has_a_finite_derivative_where_the_second_moment_is_zero() -> None:
    """A gradient that is exactly 0, as behind a dead ReLU, must not make the meta-gradient NaN."""
    at, rule = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True), Adam(lr=0.1)
    params = {"w": torch.zeros(2, dtype=torch.float64)}
    updates, state = rule.update(rule.init_hyper(params), {"w": at**3}, rule.init(params), params)
    updates, _ = rule.update(rule.init_hyper(params), {"w": at**3}, state, params)
    (slope,) = torch.autograd.grad(updates["w"].sum(), at)
    assert slope.isfinite().all()
    assert updates["w"][0] == 0


@pytest.mark.parametrize("rule", [SGD, Momentum, Adam])
def test_rates_of_a_tensor_or_an_element_scale_what_they_belong_to(rule: type[Rule]) -> None:
    params = {name: torch.randn(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    (grads,) = _gradients(1)
    shared = rule(lr=0.1)
    plain, _ = shared.update(shared.init_hyper(params), grads, shared.init(params), params)
    for rates in ("tensor", "element"):
        some = rule(lr=0.1, rates=rates)  # type: ignore[arg-type]
        hyper = some.init_hyper(params)
        assert {n: tuple(h.shape) for n, h in hyper.items()} == {
            f"lr.{n}": SHAPES[n] if rates == "element" else () for n in params
        }
        hyper = {name: value * (3 if name == "lr.w" else 1) for name, value in hyper.items()}
        if rates == "element":
            hyper["lr.b"] = hyper["lr.b"] * torch.tensor([1.0, -2.0, 0.0])
        updates, _ = some.update(hyper, grads, some.init(params), params)
        torch.testing.assert_close(updates["w"], 3 * plain["w"])
        factors = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64) if rates == "element" else 1
        torch.testing.assert_close(updates["b"], plain["b"] * factors)


def test_a_rate_that_decays_is_that_of_torch_s_schedule() -> None:
    rule, params = SGD(lr=0.3, lr_decay=0.5), {"w": torch.tensor([1.0, -2.0], dtype=torch.float64)}
    theirs = params["w"].clone()
    optimizer = torch.optim.SGD([theirs], lr=0.3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    state, w = rule.init(params), params["w"]
    for _ in range(4):
        moved, state = rule.update(rule.init_hyper(params), {"w": w**3}, state, {"w": w})
        w = w + moved["w"]
        theirs.grad = theirs**3
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(w, theirs)
    with pytest.raises(ConfigError, match="lr_decay"):
        SGD(lr=0.3, lr_decay=1.5)


def test_a_rate_must_be_positive() -> None:
    with pytest.raises(ConfigError, match=r"must be positive, found -0\.1"):
        SGD(lr=-0.1)


def test_a_partition_selects_by_wildcard_and_names_what_there_is_when_nothing_matches() -> None:
    names = ["body.0.weight", "body.1.bias", "head.weight", "head.bias"]
    assert Partition(("head.*",)).select(names) == names[2:]
    assert Partition(("*.bias", "head.weight")).select(names) == names[1:]
    assert Partition().select(names) == names
    with pytest.raises(
        ConfigError, match=r"No parameter matches haed\.\*.*The network's parameters are: body\.0\.weight"
    ):
        Partition(("haed.*",)).select(names)

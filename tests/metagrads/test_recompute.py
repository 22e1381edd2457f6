"""The estimator that keeps only ψ_k equals the one that keeps the whole graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_tasks import (
    IMAGES,
    VALUES,
    VECTORS,
    convolutional,
    episodes,
    generator,
    perceptron,
    random_params,
)
from torch import nn

from quickstudy.engine import Engine
from quickstudy.engine.plan import Plan
from quickstudy.errors import ConfigError
from quickstudy.learners import anil, cavia, imaml, maml, metasgd, protonet
from quickstudy.learners.descent import second_derivatives
from quickstudy.models import WithContext

CPU = torch.device("cpu")
CASES: dict[str, Callable[[], Any]] = {
    "sgd": lambda: maml(perceptron(VECTORS, 3), VECTORS, lr=0.3, steps=4),
    "regression": lambda: maml(perceptron(VALUES, 2), VALUES, lr=0.1, steps=3),
    "momentum": lambda: maml(perceptron(VALUES, 2), VALUES, lr=0.05, steps=4, rule="momentum"),
    "adam": lambda: maml(perceptron(VALUES, 2), VALUES, lr=0.05, steps=4, rule="adam", learn_rates=True),
    "tensor rates": lambda: maml(
        perceptron(VALUES, 2), VALUES, lr=0.05, steps=2, rule="momentum", rates="tensor", learn_rates=True
    ),
    "metasgd": lambda: metasgd(perceptron(VECTORS, 3), VECTORS, lr=0.1, steps=3),
    "anil": lambda: anil(perceptron(VECTORS, 3), VECTORS, lr=0.3, steps=3),
    "cavia": lambda: cavia(WithContext(nn.Linear(7, 3), 2).double(), VECTORS, steps=3),
    "batch norm": lambda: maml(convolutional(3), IMAGES, lr=0.1, steps=2, norm="batch"),
    "per step": lambda: maml(convolutional(3), IMAGES, lr=0.1, steps=2, norm="per_step"),
    "proximal": lambda: imaml(perceptron(VECTORS, 3), VECTORS, lr=0.3, steps=4),
    "no step": lambda: maml(perceptron(VECTORS, 3), VECTORS, steps=0),
}


@pytest.mark.parametrize("vectorize", ["vmap", "loop"])
@pytest.mark.parametrize("order", ["reverse", "forward"])
@pytest.mark.parametrize("case", CASES)
def test_it_equals_the_unrolled_gradient(case: str, order: str, vectorize: Any) -> None:
    learner = CASES[case]()
    batch = episodes(learner.spec)
    params = random_params(learner.init(generator()))
    params |= {n: p.abs() / 10 for n, p in params.items() if n.startswith("inner.")}
    exact = Engine(learner, CPU, vectorize, metagrad="unrolled").gradients(params, batch)
    options = {"order": order}
    found = Engine(learner, CPU, vectorize, metagrad="recompute", metagrad_options=options).gradients(params, batch)
    for name, grad in exact[0].items():
        torch.testing.assert_close(found[0][name], grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[1], exact[1])
    torch.testing.assert_close(found[2], exact[2])


def test_adam_s_first_step_from_a_zero_gradient_gives_no_nan() -> None:
    learner = maml(perceptron(VALUES, 2), VALUES, lr=0.05, steps=3, rule="adam")
    batch = episodes(VALUES)
    batch = batch._replace(support=batch.support._replace(x=torch.zeros_like(batch.support.x)))  # type: ignore[arg-type]
    grads, _, _ = Engine(learner, CPU, metagrad="recompute").gradients(random_params(learner.init(generator())), batch)
    assert all(bool(torch.isfinite(grad).all()) for grad in grads.values())


def test_the_order_is_the_engine_s_choice_unless_it_is_given() -> None:
    learner = CASES["sgd"]()
    free = Engine(learner, CPU, metagrad="recompute").planned(Plan("vmap", order="forward"))
    assert free.estimator.order == "forward"  # type: ignore[attr-defined]
    fixed = Engine(learner, CPU, metagrad="recompute", metagrad_options={"order": "reverse"})
    assert fixed.planned(Plan("vmap", order="forward")).estimator.order == "reverse"  # type: ignore[attr-defined]


def test_the_whole_graph_can_be_differentiated_forward_over_reverse_too() -> None:
    learner, batch = CASES["momentum"](), episodes(VALUES)
    params = random_params(learner.init(generator()))
    engine = Engine(learner, CPU, "vmap")
    exact = engine.gradients(params, batch)[0]
    with second_derivatives("forward"):
        mixed = engine.gradients(params, batch)[0]
    for name, grad in exact.items():
        torch.testing.assert_close(mixed[name], grad, rtol=1e-10, atol=1e-12)


def test_learners_without_steps_and_unknown_orders_are_refused() -> None:
    learner = protonet(perceptron(VECTORS, 4), VECTORS)
    with pytest.raises(ConfigError, match="'recompute' needs a learner that adapts in steps"):
        Engine(learner, CPU, metagrad="recompute").gradients(learner.init(generator()), episodes(VECTORS))
    with pytest.raises(ConfigError, match="no order of differentiation called 'revers'.*'reverse'"):
        Engine(learner, CPU, metagrad="recompute", metagrad_options={"order": "revers"})
    with pytest.raises(ConfigError, match="no option of the estimator 'unrolled' called 'order'"):
        Engine(learner, CPU, metagrad="unrolled", metagrad_options={"order": "reverse"})

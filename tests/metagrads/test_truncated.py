"""Looking back through the last inner steps only, against the product of their factors."""

from __future__ import annotations

import pytest
import torch
from quadratics import EYE, LINE, RATE, Problem, estimate, linear
from small_tasks import IMAGES, VALUES, VECTORS, convolutional, episodes, generator, perceptron, random_params

from quickstudy.errors import ConfigError
from quickstudy.learners import maml, metasgd
from quickstudy.metagrads import metagrad

STEPS = 4


@pytest.mark.parametrize("last", [0, 1, 2, 4, 9])
def test_on_linear_regression_it_is_the_product_of_the_last_factors(problem: Problem, last: int) -> None:
    """(I − αH)^last (H_q ψ_K − c_q)."""
    episode, w, (h, c), (query_h, query_c) = problem
    end = w
    for _ in range(STEPS):
        end = end - RATE * (h @ end - c)
    factor = torch.linalg.matrix_power(EYE - RATE * h, min(last, STEPS))
    learner, params = maml(linear(), LINE, lr=RATE, steps=STEPS), {"network.weight": w[None]}
    found = estimate("truncated", learner, params, episode, last=last)["network.weight"][0]
    torch.testing.assert_close(found, factor @ (query_h @ end - query_c))


def test_it_is_the_exact_gradient_of_the_last_steps_from_where_the_others_lead() -> None:
    learner = maml(perceptron(VECTORS, 3), VECTORS, lr=0.3, steps=STEPS)
    params, episode = random_params(learner.init(generator())), episodes(VECTORS, tasks=None)
    for last in (1, 3):
        between = learner.moved(learner.with_steps(STEPS - last).adapt(params, episode.support))
        exact = estimate("unrolled", learner.with_steps(last), between, episode)
        found = estimate("truncated", learner, params, episode, last=last)
        for name, grad in exact.items():
            torch.testing.assert_close(found[name], grad)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_its_ends_are_the_first_order_and_the_exact_estimate(rule: str) -> None:
    learner = maml(perceptron(VALUES, 2), VALUES, lr=0.05, steps=STEPS, rule=rule)  # type: ignore[arg-type]
    params, episode = random_params(learner.init(generator())), episodes(VALUES, tasks=None)
    for last, name in ((0, "first_order"), (STEPS, "unrolled"), (STEPS + 1, "unrolled")):
        found, wanted = (
            estimate("truncated", learner, params, episode, last=last),
            estimate(name, learner, params, episode),
        )
        for entry, grad in wanted.items():
            torch.testing.assert_close(found[entry], grad)
    score = metagrad("truncated")(learner, params, episode)
    torch.testing.assert_close(score.loss, learner.loss(params, episode))


def test_learned_rates_get_the_gradient_of_their_part_in_the_last_step(problem: Problem) -> None:
    """ψ_K = ψ − α ∘ g(ψ) with ψ = ψ_{K−1} fixed, so that ∂L/∂α = −g(ψ) ∘ ∂L/∂ψ_K."""
    episode, w, (h, c), (query_h, query_c) = problem
    rates = torch.tensor([0.1, 0.2, 0.05, 0.02], dtype=torch.float64)
    end = w
    for _ in range(3):
        inner = h @ end - c
        end = end - rates * inner
    learner = metasgd(linear(), LINE, lr=RATE, steps=3)
    params = {"network.weight": w[None], "inner.lr.weight": rates[None]}
    found = estimate("truncated", learner, params, episode, last=1)
    torch.testing.assert_close(found["inner.lr.weight"][0], -inner * (query_h @ end - query_c))


def test_it_refuses_what_would_never_learn_and_a_negative_number_of_steps() -> None:
    learner = maml(convolutional(3), IMAGES, steps=2, norm="per_step")
    params, episode = random_params(learner.init(generator())), episodes(IMAGES, tasks=None)
    with pytest.raises(ConfigError, match=r"last 1 of 2 inner steps.*'network\.1\.weight'.*Set last=2, or choose norm"):
        estimate("truncated", learner, params, episode)
    whole, exact = (
        estimate(n, learner, params, episode, **o) for n, o in (("truncated", {"last": 2}), ("unrolled", {}))
    )
    torch.testing.assert_close(whole["network.1.weight"], exact["network.1.weight"])
    with pytest.raises(ConfigError, match="cannot be negative, found -1"):
        metagrad("truncated", last=-1)
    learned = metasgd(perceptron(VECTORS, 3), VECTORS)
    with pytest.raises(ConfigError, match="never learn.*keep the inner rates fixed"):
        estimate("truncated", learned, random_params(learned.init(generator())), episodes(VECTORS, tasks=None), last=0)

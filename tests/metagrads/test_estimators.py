"""Meta-gradient estimators against closed forms on linear regression."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from quadratics import LINE, RATE, estimate, linear
from small_tasks import (
    IMAGES,
    VALUES,
    VECTORS,
    convolutional,
    episodes,
    generator,
    gradient,
    perceptron,
    random_params,
    requiring_grad,
)
from torch import nn

from quickstudy.engine import Engine
from quickstudy.errors import ConfigError
from quickstudy.learners import (
    GradientLearner,
    Learner,
    anil,
    cavia,
    finetune,
    fomaml,
    maml,
    metasgd,
    protonet,
    reptile,
    simpleshot,
)
from quickstudy.metagrads import FirstOrder, Unrolled, metagrad
from quickstudy.models import WithContext


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_maml_on_linear_regression_is_its_closed_form(problem, steps: int) -> None:  # type: ignore[no-untyped-def]
    """ψ_K follows w ← w − α(Hw − c); the meta-gradient is (I − αH)^K (H_q ψ_K − c_q); FOMAML drops the first factor."""
    episode, w, (h, c), (query_h, query_c) = problem
    learner, params = maml(linear(), LINE, lr=RATE, steps=steps), {"network.weight": w[None]}
    end = w
    for _ in range(steps):
        end = end - RATE * (h @ end - c)
    state = learner.adapt(params, episode.support)
    torch.testing.assert_close(state["task.weight"][0], end)
    assert int(state["count"]) == steps
    last = query_h @ end - query_c
    factor = torch.linalg.matrix_power(torch.eye(4, dtype=torch.float64) - RATE * h, steps)
    torch.testing.assert_close(estimate("unrolled", learner, params, episode)["network.weight"][0], factor @ last)
    torch.testing.assert_close(estimate("first_order", learner, params, episode)["network.weight"][0], last)


def test_reptile_goes_from_where_it_starts_to_where_training_on_all_examples_ends(problem) -> None:  # type: ignore[no-untyped-def]
    episode, w, (h, c), (query_h, query_c) = problem
    learner, params = reptile(linear(), LINE, lr=RATE, steps=2), {"network.weight": w[None]}
    h, c, end = (h + query_h) / 2, (c + query_c) / 2, w
    for _ in range(2):
        end = end - RATE * (h @ end - c)
    torch.testing.assert_close(estimate("reptile", learner, params, episode)["network.weight"][0], w - end)
    score = metagrad("reptile")(learner, params, episode)
    torch.testing.assert_close(score.loss, learner.loss(params, episode))


def test_meta_sgd_s_rates_get_minus_gradient_times_gradient(problem) -> None:  # type: ignore[no-untyped-def]
    """After one step ψ = w − α ∘ g, so that ∂L/∂α = −g ∘ ∂L/∂ψ and ∂L/∂w = (I − H diag α) ∂L/∂ψ."""
    episode, w, (h, c), (query_h, query_c) = problem
    learner = metasgd(linear(), LINE, lr=RATE)
    rates = torch.tensor([[0.1, -0.2, 0.3, 0.0]], dtype=torch.float64)
    params = {"network.weight": w[None], "inner.lr.weight": rates}
    inner = h @ w - c
    outer = query_h @ (w - rates[0] * inner) - query_c
    found = estimate("unrolled", learner, params, episode)
    torch.testing.assert_close(found["inner.lr.weight"][0], -inner * outer)
    torch.testing.assert_close(found["network.weight"][0], outer - h @ (rates[0] * outer))


def test_every_kind_of_learned_rate_is_differentiated_exactly() -> None:
    for rule, rates in (("adam", "shared"), ("momentum", "tensor"), ("sgd", "element")):
        learner = maml(perceptron(VALUES, 2), VALUES, lr=0.05, steps=2, rule=rule, rates=rates, learn_rates=True)  # type: ignore[arg-type]
        params, episode = random_params(learner.init(generator())), episodes(VALUES, tasks=None)
        params |= {n: p.abs() for n, p in params.items() if n.startswith("inner.")}
        grads, eps = estimate("unrolled", learner, params, episode), 1e-6
        names = [name for name in params if name.startswith("inner.lr")]
        assert len(names) == (1 if rates == "shared" else 4)
        for name in names:
            ends = [learner.loss(params | {name: params[name] + sign * eps}, episode) for sign in (1, -1)]
            torch.testing.assert_close(grads[name].sum(), (ends[0] - ends[1]) / (2 * eps), rtol=1e-5, atol=1e-8)


def test_the_first_order_estimate_is_the_query_gradient_at_the_adapted_parameters() -> None:
    learner = fomaml(perceptron(VECTORS, 3), VECTORS, lr=0.3, steps=3)
    params, episode = random_params(learner.init(generator())), episodes(VECTORS, tasks=None)
    state = learner.adapt(params, episode.support)
    end = requiring_grad({n.replace("task.", "network."): v for n, v in state.items() if n.startswith("task.")})
    direct = gradient(learner.with_steps(0).loss(end, episode), end)
    found, exact = (estimate(name, learner, params, episode) for name in ("first_order", "unrolled"))
    for name, grad in direct.items():
        torch.testing.assert_close(found[name], grad)
        assert not torch.allclose(exact[name], grad)


def test_first_order_of_a_head_only_learner_leaves_the_body_its_query_gradient() -> None:
    learner = anil(perceptron(VECTORS, 3), VECTORS, lr=0.3, steps=2)
    params, episode = random_params(learner.init(generator())), episodes(VECTORS, tasks=None)
    head = {"network." + n[5:]: v for n, v in learner.adapt(params, episode.support).items() if n.startswith("task.")}
    assert set(head) == {"network.2.weight", "network.2.bias"}
    end = requiring_grad(params | head)
    direct = gradient(learner.with_steps(0).loss(end, episode), end)
    for name, grad in estimate("first_order", learner, params, episode).items():
        torch.testing.assert_close(grad, direct[name])


def test_estimators_are_found_by_name_and_the_nearest_is_suggested() -> None:
    assert metagrad("unrolled") == Unrolled()
    assert metagrad("first_order") == FirstOrder()
    with pytest.raises(ConfigError, match="Did you mean 'first_order'"):
        metagrad("firstorder")


@pytest.mark.parametrize("name", ["first_order", "reptile"])
def test_estimators_of_iterative_learners_refuse_the_others_and_learned_rates(name: str) -> None:
    embedding = protonet(perceptron(VECTORS, 4), VECTORS)
    batch = episodes(VECTORS)
    with pytest.raises(
        ConfigError, match=f"{name!r} needs a learner that adapts in steps, and EmbeddingLearner does not"
    ):
        Engine(embedding, torch.device("cpu"), metagrad=name).gradients(embedding.init(generator()), batch)
    learned = metasgd(perceptron(VECTORS, 3), VECTORS)
    with pytest.raises(
        ConfigError, match=r"never learn, and that is true of 'inner\.lr\.0\.weight'.*keep the inner rates fixed"
    ):
        Engine(learned, torch.device("cpu"), metagrad=name).gradients(learned.init(generator()), batch)


@pytest.mark.parametrize("name", ["first_order", "reptile"])
def test_statistics_of_every_step_are_refused_where_only_the_last_slot_would_learn(name: str) -> None:
    learner = maml(convolutional(3), IMAGES, steps=2, norm="per_step")
    params, episode = random_params(learner.init(generator())), episodes(IMAGES, tasks=None)
    with pytest.raises(ConfigError, match=r"'network\.1\.weight' or a part of it.*norm='batch'.*nn\.GroupNorm"):
        estimate(name, learner, params, episode)
    assert all((grad != 0).any() for grad in estimate("unrolled", learner, params, episode)["network.1.weight"])


@pytest.mark.parametrize("name", ["first_order", "reptile"])
@pytest.mark.parametrize("baseline", [finetune, simpleshot])
def test_baselines_have_no_inner_loop_to_estimate(name: str, baseline: Callable[..., Learner]) -> None:
    learner = baseline(perceptron(VECTORS, 4), VECTORS, classes=3)
    with pytest.raises(ConfigError, match=rf"{name!r} needs a learner that adapts to training tasks.*Use 'unrolled'"):
        estimate(name, learner, random_params(learner.init(generator())), episodes(VECTORS, tasks=None))


def test_reptile_refuses_an_inner_loop_that_leaves_a_part_of_phi_where_it_is() -> None:
    context = cavia(WithContext(nn.Linear(7, 3), 2).double(), VECTORS)
    for learner, still in ((context, r"2 of 2 .* 'network\.module\.weight'"), (head_only(), r"2 of 4 .* 'network\.0")):
        with pytest.raises(ConfigError, match=f"leaves {still}.*Use 'unrolled' or 'first_order'"):
            estimate("reptile", learner, random_params(learner.init(generator())), episodes(VECTORS, tasks=None))


def head_only() -> GradientLearner:
    return anil(perceptron(VECTORS, 3), VECTORS)


def test_what_an_inner_loop_moves_is_named_as_in_phi() -> None:
    context = cavia(WithContext(nn.Linear(7, 3), 2).double(), VECTORS)
    for learner, names in ((context, {"constant.context"}), (head_only(), {"network.2.weight", "network.2.bias"})):
        params = random_params(learner.init(generator()))
        assert set(learner.moved(learner.start(params, episodes(VECTORS, tasks=None).support))) == names

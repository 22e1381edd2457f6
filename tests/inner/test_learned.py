"""Rules that are networks: at the start, at zero gradients, coordinate by coordinate, and inside MAML."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from small_tasks import VALUES, VECTORS, episodes, generator, perceptron
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.inner import RULES, LearnedRule, LSTMRule, MetaLSTM, MLPRule
from quickstudy.inner.learned import log_and_sign
from quickstudy.learners import GradientLearner, fomaml, maml
from quickstudy.testing import check_learner

LEARNED = ("lstm", "mlp", "meta-lstm")
EVERY_RULE = [*(RULES[name](lr=0.01) for name in LEARNED), MLPRule(lr=0.01, scale="secant")]
SHAPES: dict[str, tuple[int, ...]] = {"w": (3, 2), "b": (3,), "scale": ()}
LOSS = torch.tensor(0.7, dtype=torch.float64)


def normal(seed: int = 0) -> Params:
    drawn = generator(seed)
    return {name: torch.randn(shape, generator=drawn, dtype=torch.float64) for name, shape in SHAPES.items()}


def changed(hyper: Params, seed: int = 5) -> Params:
    """Weights that are far from those drawn, so that nothing is 0 by initialisation."""
    drawn = generator(seed)
    return {n: v + 0.3 * torch.randn(v.shape, generator=drawn, dtype=v.dtype) for n, v in hyper.items()}


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("spec", [VECTORS, VALUES], ids=["classes", "numbers"])
def test_maml_with_a_learned_rule_conforms(name: str, spec: object) -> None:
    task = VECTORS if spec is VECTORS else VALUES
    learner = maml(perceptron(task, task.outputs), task, rule=name, lr=0.05, steps=3)  # type: ignore[arg-type]
    check_learner(learner, episodes(task, tasks=2))
    if name == "mlp":
        check_learner(replace(learner, rule=MLPRule(lr=0.5, scale="secant")), episodes(task, tasks=2))


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_a_rule_keeps_its_shapes_and_moves_each_coordinate_on_its_own(rule: LearnedRule) -> None:
    params = normal()
    hyper, state = changed(rule.init_hyper(params, generator())), rule.init(params)
    for seed in (1, 2):
        grads = normal(seed)
        updates, after = rule.update(hyper, grads, state, params, LOSS)
        assert {n: u.shape for n, u in updates.items()} == {n: p.shape for n, p in params.items()}
        assert {n: (s.shape, s.dtype) for n, s in after.items()} == {n: (s.shape, s.dtype) for n, s in state.items()}
        for at in SHAPES:  # the same, one tensor at a time and its elements turned round
            turn = (lambda t: t.flip(0)) if SHAPES[at] else (lambda t: t)
            slots = {n: turn(s) for n, s in state.items() if n.endswith(f".{at}")}
            alone, _ = rule.update(hyper, {at: turn(grads[at])}, slots, {at: turn(params[at])}, LOSS)
            torch.testing.assert_close(turn(alone[at]), updates[at], rtol=1e-12, atol=1e-14)
        state = after


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_zero_gradients_leave_update_and_both_derivatives_finite(rule: LearnedRule) -> None:
    at = torch.tensor([0.0, 1.0, -1e-9], dtype=torch.float64)
    params = {"w": torch.zeros(3, dtype=torch.float64)}
    hyper = changed(rule.init_hyper(params, generator()))

    def total(at: Tensor) -> Tensor:
        state, moved = rule.init(params), torch.zeros((), dtype=torch.float64)
        for _ in range(3):
            updates, state = rule.update(hyper, {"w": at**3}, state, params, (at**4).sum())
            moved = moved + updates["w"].sum()
        return moved

    assert total(at).isfinite()
    assert torch.func.grad(total)(at).isfinite().all()
    assert torch.func.hessian(total)(at).isfinite().all()


@pytest.mark.parametrize("name", LEARNED)
def test_the_meta_gradient_is_finite_where_every_gradient_is_zero(name: str) -> None:
    """Inputs of zeros: no weight of the first layer has a gradient."""
    learner = maml(perceptron(VECTORS, 3), VECTORS, rule=name, steps=2)  # type: ignore[arg-type]
    batch = episodes(VECTORS, tasks=2)
    batch = batch._replace(support=batch.support._replace(x=torch.zeros_like(batch.support.x)))
    for vectorize in ("vmap", "loop"):
        engine = Engine(learner, torch.device("cpu"), vectorize)  # type: ignore[arg-type]
        grads, _, _ = engine.gradients(learner.init(generator()), batch)
        assert all(grad.isfinite().all() for grad in grads.values())


def test_the_logarithmic_scale_is_continuous_and_antisymmetric() -> None:
    least = math.exp(-10)
    values = torch.tensor([1.0, math.exp(-5), least * (1 + 1e-9), least * (1 - 1e-9), least / 2, 0.0]).double()
    expected = torch.tensor([[0, 1], [-0.5, 1], [-1, 1], [-1, 1], [-1, 0.5], [-1, 0]], dtype=torch.float64)
    torch.testing.assert_close(log_and_sign(values), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(log_and_sign(-values), expected * torch.tensor([1, -1]), rtol=1e-8, atol=1e-8)


def without_small_numbers(hyper: Params) -> Params:
    """Freshly drawn weights, of which the small random ones of the last layer are 0."""
    small = ("last.weight", "enter.weight", "keep.weight")
    found = {n: torch.zeros_like(v) if n in small else v for n, v in hyper.items()}
    if "upper.input" in hyper:
        found["last.weight"][-2:] = hyper["last.weight"][-2:]
    return found


def walk(rule: LearnedRule, hyper: Params, steps: int) -> list[tuple[Tensor, Tensor]]:
    """Gradients and updates of some steps along one parameter."""
    params = {"w": torch.zeros(4, dtype=torch.float64)}
    state, found = rule.init(params), []
    for step in range(steps):
        grad = torch.randn(4, generator=generator(step), dtype=torch.float64)
        updates, state = rule.update(hyper, {"w": grad}, state, params, LOSS)
        found.append((grad, updates["w"]))
    return found


def test_a_fresh_mlp_is_adam_without_the_correction_of_the_mean() -> None:
    rule = MLPRule(lr=0.02, decay=0.99, eps=1e-12)
    hyper = without_small_numbers(rule.init_hyper({"w": torch.zeros(4, dtype=torch.float64)}, generator()))
    mine = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([mine], lr=0.02, betas=(0.9, 0.99), eps=1e-12)
    for step, (grad, update) in enumerate(walk(rule, hyper, 5), start=1):
        before, mine.grad = mine.detach().clone(), grad.clone()
        adam.step()
        torch.testing.assert_close(update, (mine.detach() - before) * (1 - 0.9**step), rtol=1e-6, atol=1e-12)


def test_the_secant_scale_finds_the_curvature_of_each_coordinate() -> None:
    """On a parabola Δg = a Δθ, so c tends to a: the update to -lr · m / a, whatever the scale of the loss."""
    rule = MLPRule(lr=0.5, scale="secant", decays=(0.9,), memory=0.5, eps=1e-12)
    curvature = torch.tensor([0.01, 1.0, 300.0], dtype=torch.float64)
    params = {"w": torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)}
    hyper = without_small_numbers(rule.init_hyper(params, generator()))
    state, mean = rule.init(params), torch.zeros(3, dtype=torch.float64)
    for step in range(120):
        grad = curvature * params["w"]
        mean = 0.9 * mean + 0.1 * grad
        updates, state = rule.update(hyper, {"w": grad}, state, params)
        if step == 0:  # the first gradient counts as that of a step of 0.01
            torch.testing.assert_close(updates["w"], -0.5 * 0.1 * 0.01 * grad.sign())
        if step > 100:
            torch.testing.assert_close(updates["w"], -0.5 * mean / curvature, rtol=1e-3, atol=0.0)
        params = {"w": params["w"] + updates["w"]}


def test_a_fresh_lstm_follows_the_sign_and_a_fresh_meta_lstm_the_gradient() -> None:
    start = {"w": torch.zeros(4, dtype=torch.float64)}
    lstm, meta = LSTMRule(lr=0.02), MetaLSTM(lr=0.02)
    for grad, update in walk(lstm, without_small_numbers(lstm.init_hyper(start, generator())), 3):
        torch.testing.assert_close(update, -0.02 * grad.sign())
    for grad, update in walk(meta, without_small_numbers(meta.init_hyper(start, generator())), 3):
        torch.testing.assert_close(update, -0.02 * grad)


def test_the_gates_of_the_meta_lstm_forget_the_parameter_and_follow_the_gradient() -> None:
    rule = MetaLSTM(lr=0.02)
    params = {"w": torch.tensor([2.0, -1.0], dtype=torch.float64)}
    hyper = without_small_numbers(rule.init_hyper(params, generator()))
    hyper["keep.bias"] = torch.tensor([math.log(3.0)], dtype=torch.float64)  # f = 3/4
    hyper["enter.bias"] = torch.tensor([0.0], dtype=torch.float64)  # i = 1/2
    updates, _ = rule.update(hyper, {"w": torch.ones(2).double()}, rule.init(params), params, LOSS)
    torch.testing.assert_close(params["w"] + updates["w"], 0.75 * params["w"] - 0.5)


def test_the_loss_moves_a_meta_lstm_and_is_asked_for() -> None:
    rule, params = MetaLSTM(lr=0.02), normal()
    hyper = changed(rule.init_hyper(params, generator()))
    one, other = (rule.update(hyper, normal(1), rule.init(params), params, LOSS * k)[0] for k in (1, 3))
    assert not torch.allclose(one["w"], other["w"])
    with pytest.raises(ConfigError, match=r"MetaLSTM looks at the loss and was not given it.*closure"):
        rule.update(hyper, normal(1), rule.init(params), params)


@pytest.mark.parametrize("metagrad", ["unrolled", "recompute", "truncated", "evolution"])
@pytest.mark.parametrize("name", LEARNED)
def test_the_estimators_reach_the_weights_of_the_rule(name: str, metagrad: str) -> None:
    learner = maml(perceptron(VECTORS, 3), VECTORS, rule=name, steps=3)  # type: ignore[arg-type]
    params, batch = learner.init(generator()), episodes(VECTORS, tasks=2)
    keys = torch.arange(2) if metagrad == "evolution" else None
    grads, _, _ = Engine(learner, torch.device("cpu"), metagrad=metagrad).gradients(params, batch, keys)
    inner = {name: grad for name, grad in grads.items() if name.startswith("inner.")}
    assert inner and all(grad.isfinite().all() for grad in inner.values())
    assert sum(float(grad.square().sum()) for grad in inner.values()) > 0
    if metagrad == "recompute":
        exact, _, _ = Engine(learner, torch.device("cpu"), metagrad="unrolled").gradients(params, batch)
        for entry, grad in grads.items():
            torch.testing.assert_close(grad, exact[entry], rtol=1e-8, atol=1e-12)


def test_what_cannot_work_is_refused_with_the_way_out() -> None:
    params = normal()
    with pytest.raises(ConfigError, match="nothing to draw its weights from"):
        LSTMRule(lr=0.1).init_hyper(params)
    with pytest.raises(ConfigError, match="one network for all coordinates.*rates='element'"):
        MLPRule(lr=0.1, rates="element")
    with pytest.raises(ConfigError, match=r"decays in \[0, 1\), found \(1.5,\)"):
        MLPRule(lr=0.1, decays=(1.5,))
    with pytest.raises(ConfigError, match="no scale of an MLPRule called 'secants'. Did you mean 'secant'"):
        MLPRule(lr=0.1, scale="secants")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"gate in \(0, 1\) starts, found 1\.5"):
        MetaLSTM(lr=1.5)
    with pytest.raises(ConfigError, match="at least 1 hidden unit, found 0"):
        LSTMRule(lr=0.1, hidden=0)
    with pytest.raises(ConfigError, match="There is no inner rule called 'lstn'. Did you mean 'lstm'"):
        maml(perceptron(VECTORS, 3), VECTORS, rule="lstn")  # type: ignore[arg-type]
    plain = maml(perceptron(VECTORS, 3), VECTORS)
    with pytest.raises(ConfigError, match="must be meta-learned, but learn_rates is off"):
        GradientLearner(network=plain.network, spec=VECTORS, steps=1, rule=LSTMRule(lr=0.1))
    learner = fomaml(perceptron(VECTORS, 3), VECTORS, rule="lstm")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="would never learn.*choose an inner rule that is not learned"):
        Engine(learner, torch.device("cpu")).gradients(learner.init(generator()), episodes(VECTORS))

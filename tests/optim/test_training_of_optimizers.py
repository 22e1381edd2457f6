"""Problems and the two estimators: closed forms, finite differences, carrying on, and that training helps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, TrainingError
from quickstudy.inner import SGD, LSTMRule, MLPRule
from quickstudy.optim import (
    Classifiers,
    Going,
    LearnedOptimizer,
    Problems,
    Quadratics,
    Unrolls,
    curves,
    persistent,
    train_optimizer,
    truncated,
)

KEYS = rng.split(rng.key(3), 5)
CURVATURE, START, RATE = 0.8, 1.5, 0.3


@dataclass(frozen=True)
class Parabola(Problems):
    """aθ² from one start, always the same: gradient descent multiplies θ by 1 - 2a·lr."""

    def draw(self, keys: Tensor) -> tuple[Params, Params]:
        return {"a": torch.full(keys.shape, CURVATURE).double()}, {"theta": torch.full(keys.shape, START).double()}

    def loss(self, params: Params, data: Params) -> Tensor:
        return data["a"] * params["theta"].square()


def parabola(horizon: int, segment: int, batch: int, **options: object) -> Unrolls:
    return Unrolls(SGD(lr=RATE), Parabola(), horizon, segment, batch, **options)  # type: ignore[arg-type]


WEIGHTS = {"lr": torch.tensor(RATE, dtype=torch.float64)}


@pytest.mark.parametrize("problems", [Quadratics(size=4), Classifiers(width=3, inputs=2, classes=3, examples=5)])
def test_a_function_depends_on_its_key_alone(problems: Problems) -> None:
    data, start = problems.draw(KEYS)
    for index in range(len(KEYS)):
        for many, one in zip((data, start), problems.draw(KEYS[index]), strict=True):
            assert many.keys() == one.keys()
            torch.testing.assert_close({name: value[index] for name, value in many.items()}, one)
    values = problems.losses(start, data)
    assert values.shape == (5,) and len(set(values.tolist())) == 5


def test_quadratics_and_classifiers_are_what_they_say() -> None:
    data, start = Quadratics(size=3).draw(KEYS[0])
    by_hand = sum((data["matrix"][i] @ start["theta"] - data["target"][i]) ** 2 for i in range(3))
    torch.testing.assert_close(Quadratics(size=3).loss(start, data), by_hand)
    problems = Classifiers(width=3, inputs=2, classes=3, examples=50)
    data, start = problems.draw(KEYS[0])
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 3))
    for layer, name in ((net[0], "first"), (net[2], "second")):
        layer.weight.data, layer.bias.data = start[f"{name}.weight"].T, start[f"{name}.bias"]
    expected = torch.nn.functional.cross_entropy(net(data["x"]), data["y"])
    torch.testing.assert_close(problems.loss(start, data), expected)
    assert set(data["y"].tolist()) == {0, 1, 2}


def test_the_truncated_gradient_over_the_whole_horizon_is_that_of_finite_differences() -> None:
    """In float64, on random quadratics, through all that the rule sees."""
    data, start = Quadratics(size=3).draw(KEYS)
    double = {n: v.double() for n, v in data.items()}, {n: v.double() for n, v in start.items()}

    class Fixed(Quadratics):
        def draw(self, keys: Tensor) -> tuple[Params, Params]:
            return double

    unrolls = Unrolls(MLPRule(lr=3.0, scale="secant", hidden=4), Fixed(), horizon=6, segment=6, batch=5)
    weights = unrolls.weights()
    found = truncated(unrolls, weights, 0, None).grads
    along = {n: torch.randn(v.shape, generator=torch.Generator().manual_seed(1)).to(v) for n, v in weights.items()}

    def total(scale: float) -> float:
        moved = {name: value + scale * along[name] for name, value in weights.items()}
        return 6 * float(truncated(unrolls, moved, 0, None).loss)

    slope = (total(1e-5) - total(-1e-5)) / 2e-5
    assert sum(float((found[n] * along[n]).sum()) for n in found) == pytest.approx(slope, rel=1e-5)
    constant = truncated(replace(unrolls, through=False), weights, 0, None).grads
    assert sum(float((constant[n] * along[n]).sum()) for n in found) != pytest.approx(slope, rel=1e-3)


def test_segments_go_on_where_the_last_ended_and_functions_are_renewed_at_their_horizon() -> None:
    unrolls = parabola(horizon=6, segment=2, batch=4)
    going: Going | None = None
    shrink = (1 - 2 * CURVATURE * RATE) ** 2
    ages = [0] * 4
    for turn in range(6):
        ended = unrolls.ended(turn).tolist()
        assert ended == ([True] * 4 if turn == 0 else [(i + turn) % 3 == 0 for i in range(4)])
        ages = [0 if end else age for end, age in zip(ended, ages, strict=True)]
        _, loss, going = truncated(unrolls, WEIGHTS, turn, going)
        expected = [CURVATURE * START**2 * shrink ** (age + t) for age in ages for t in (1, 2)]
        assert float(loss) == pytest.approx(sum(expected) / 8)
        ages = [age + 2 for age in ages]


def smoothed(horizon: int, sigma: float) -> float:
    """d/dlr Σ_t E[L_t], each step with a rate of its own from N(lr, σ²): E[(1 - 2a·rate)²] = s, so E[L_t] = aθ₀² sᵗ."""
    keep = 1 - 2 * CURVATURE * RATE
    s = keep**2 + (2 * CURVATURE * sigma) ** 2
    ds = -4 * CURVATURE * keep
    return sum(CURVATURE * START**2 * t * s ** (t - 1) * ds for t in range(1, horizon + 1))


def test_pes_has_the_gradient_of_the_whole_horizon_for_its_mean_and_truncation_has_not() -> None:
    sigma, horizon, batch = 0.1, 4, 40_000
    unrolls = parabola(horizon, segment=1, batch=batch)
    going: Going | None = None
    ends = []
    total, truncation = torch.zeros(()).double(), torch.zeros(()).double()
    other: Going | None = None
    for turn in range(horizon):
        # in phase: all begin at turn 0, and none is renewed before the horizon
        unrolls_now = _InPhase(**{f: getattr(unrolls, f) for f in unrolls.__dataclass_fields__})
        grads, _, going = persistent(unrolls_now, WEIGHTS, turn, going, sigma=sigma)
        short, _, other = truncated(unrolls_now, WEIGHTS, turn, other)
        total, truncation = total + grads["lr"], truncation + short["lr"]
        ends.append(going.shift["lr"].std().item())
    exact = smoothed(horizon, sigma)
    assert float(total) == pytest.approx(exact, rel=0.05)
    assert abs(float(truncation) / smoothed(horizon, 0.0) - 1) > 0.2
    for turn, spread in enumerate(ends, start=1):  # perturbations add up
        assert spread == pytest.approx(sigma * turn**0.5, rel=0.02)


class _InPhase(Unrolls):
    def ended(self, turn: int) -> Tensor:
        return torch.full((self.batch,), turn == 0)


def test_pes_of_one_segment_is_evolution_strategies_by_hand() -> None:
    unrolls = parabola(horizon=3, segment=3, batch=5)
    found, _, going = persistent(unrolls, WEIGHTS, 0, None, sigma=0.05)
    expected = torch.zeros(5).double()
    for index, noise in enumerate(going.shift["lr"]):
        ends = []
        for sign in (1, -1):
            keep = 1 - 2 * CURVATURE * (WEIGHTS["lr"] + sign * noise)
            ends.append(sum(CURVATURE * (START * keep**t) ** 2 for t in (1, 2, 3)))
        expected[index] = noise * (ends[0] - ends[1]) / (2 * 0.05**2)
    torch.testing.assert_close(found["lr"], expected.mean())
    _, _, later = persistent(unrolls, WEIGHTS, 1, going, sigma=0.05)  # a new horizon: nothing has added up
    assert later.shift["lr"].std() < 0.15


def test_the_logarithmic_objective_is_summed_over_steps() -> None:
    losses = torch.tensor([[1.0, 3.0], [0.0, 1.0]])
    unrolls = parabola(4, 2, 2, objective="log", floor=0.5)
    torch.testing.assert_close(unrolls.objectives(losses), torch.tensor([1.5 * 3.5, 0.5 * 1.5]).log())
    torch.testing.assert_close(replace(unrolls, objective="sum").objectives(losses), torch.tensor([4.0, 1.0]))


@pytest.mark.parametrize("estimator", ["truncated", "pes"])
def test_training_lowers_the_loss_on_other_functions_and_repeats(estimator: str) -> None:
    problems = Quadratics(size=3)
    unrolls = Unrolls(SGD(lr=0.005), problems, horizon=10, segment=5, batch=16)
    how = partial(persistent, sigma=1e-3) if estimator == "pes" else estimator
    seen: list[int] = []
    one, other = (
        train_optimizer(unrolls, 40, lr=1e-3, estimator=how, on_step=lambda step, *_: seen.append(step))
        for _ in range(2)
    )
    assert seen == [*range(1, 41)] * 2
    assert all(torch.equal(one[name], other[name]) for name in one)
    unseen = rng.split(rng.key(0, "other functions"), 50)
    before, after = (
        curves(lambda params, w=w: LearnedOptimizer(params, unrolls.rule, w), problems, unseen, 10)[:, -1].mean()  # type: ignore[misc]
        for w in (unrolls.weights(), one)
    )
    assert after < 0.85 * before


def test_curves_are_those_of_each_function_alone() -> None:
    problems = Classifiers(width=3, examples=8)
    rule = LSTMRule(lr=0.1, hidden=3)
    weights = rule.init_hyper({"x": torch.zeros(1)}, torch.Generator().manual_seed(0))
    for make in (
        lambda params: torch.optim.Adam(params, lr=0.1),
        lambda params: LearnedOptimizer(params, rule, weights),
    ):
        many = curves(make, problems, KEYS, 4)
        assert many.shape == (5, 5)
        for index in range(5):
            torch.testing.assert_close(curves(make, problems, KEYS[index : index + 1], 4)[0], many[index])


def test_what_cannot_work_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="horizon of 10, segments of 3"):
        parabola(horizon=10, segment=3, batch=2)
    with pytest.raises(ConfigError, match="no objective called 'sums'. Did you mean 'sum'"):
        parabola(4, 2, 2, objective="sums")
    unrolls = parabola(4, 2, 2)
    with pytest.raises(ConfigError, match="called 'truncate'. Did you mean 'truncated'"):
        train_optimizer(unrolls, 1, weights=WEIGHTS, estimator="truncate")
    with pytest.raises(ConfigError, match="at least 1 outer step, found 0"):
        train_optimizer(unrolls, 0, weights=WEIGHTS)
    with pytest.raises(ConfigError, match="At least 1 step is needed, found 0"):
        curves(torch.optim.Adam, Quadratics(), KEYS, 0)
    wild = {"lr": torch.tensor(1e200, dtype=torch.float64)}
    with pytest.raises(TrainingError, match=r"not finite at outer step 0 \(seed 0.*Lower lr"):
        train_optimizer(unrolls, 1, weights=wild)

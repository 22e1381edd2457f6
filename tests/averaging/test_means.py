"""Means of models against their definitions, and what is refused."""

from __future__ import annotations

import logging

import pytest
import torch
from small_tasks import classes

from quickstudy.averaging import (
    finite,
    fisher_mean,
    greedy_soup,
    interpolation,
    mean,
    moving_average,
    recalibrated,
    strangers,
    task_arithmetic,
)
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, ModelError
from quickstudy.learners import Network
from quickstudy.learners.fisher import diagonal_fisher
from quickstudy.models import conv4


def model(seed: int) -> Params:
    drawn = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(3, 2, generator=drawn), "b": torch.randn(2, generator=drawn), "count": torch.tensor(seed)}


def test_means_are_what_they_say() -> None:
    one, two, three = (model(seed) for seed in range(3))
    found = mean([one, two, three])
    torch.testing.assert_close(found["a"], (one["a"] + two["a"] + three["a"]) / 3)
    assert found["count"] == 0 and found["count"].dtype == torch.int64
    weighted = mean({"x": one, "y": two, "z": three}, [1, 3, 0])
    torch.testing.assert_close(weighted["b"], (one["b"] + 3 * two["b"]) / 4)
    torch.testing.assert_close(moving_average(one, two, 0.9)["a"], 0.9 * one["a"] + 0.1 * two["a"])
    assert torch.equal(mean([one])["a"], one["a"])


def test_a_mean_of_many_does_not_lose_digits() -> None:
    models = [{"a": torch.full((1,), 1.0 + 1e-7 * i)} for i in range(10_000)]
    expected = torch.stack([m["a"].double() for m in models]).mean(0).float()
    assert torch.equal(mean(models)["a"], expected)


def test_task_arithmetic_adds_and_forgets() -> None:
    base, one, two = (model(seed) for seed in range(3))
    torch.testing.assert_close(task_arithmetic(base, [one])["a"], one["a"])
    both = task_arithmetic(base, [one, two], [0.5, -1.0])
    torch.testing.assert_close(both["a"], base["a"] + 0.5 * (one["a"] - base["a"]) - (two["a"] - base["a"]))
    torch.testing.assert_close(task_arithmetic(base, [one, two], 0.5)["b"], mean([one, two])["b"])


def test_models_that_differ_are_refused_by_the_first_parameter() -> None:
    one, other = model(0), model(1)
    other["b"] = torch.zeros(3)
    with pytest.raises(ModelError, match=r"'b' of 'model 1' has the shape \(3,\).*'model 0' has the shape \(2,\)"):
        mean([one, other])
    with pytest.raises(ModelError, match="'left' has a parameter 'b', but 'right' has none"):
        mean({"left": one, "right": {"a": one["a"], "count": one["count"]}})
    with pytest.raises(ModelError, match="float64"):
        mean([one, {name: value.double() for name, value in one.items()}])
    with pytest.raises(ConfigError, match="no model"):
        mean([])
    with pytest.raises(ConfigError, match="2 models but 1 weights"):
        mean([one, model(2)], [1.0])


def test_weights_by_name_are_those_of_the_models_of_these_names() -> None:
    one, two = model(0), model(1)
    clients = {0: one, 1: two}
    weights = {1: 100, 0: 300}
    torch.testing.assert_close(mean(clients, weights)["a"], (3 * one["a"] + two["a"]) / 4)  # type: ignore[arg-type]
    named = {"x": one, "y": two}
    sure = {"y": {"a": torch.ones(3, 2)}, "x": {"a": torch.full((3, 2), 3.0)}}
    torch.testing.assert_close(fisher_mean(named, sure)["a"], (3 * one["a"] + two["a"]) / 4)
    added = task_arithmetic(one, {"y": two, "z": model(2)}, {"z": 0.0, "y": 0.5})
    torch.testing.assert_close(added["a"], (one["a"] + two["a"]) / 2)


def test_names_of_weights_that_are_missing_or_unknown_are_said() -> None:
    models = {"x": model(0), "y": model(1)}
    with pytest.raises(ConfigError, match="no weight for 'y' and a weight for 'z', which is no model.*'x', 'y'"):
        mean(models, {"x": 1.0, "z": 1.0})
    with pytest.raises(ConfigError, match="There is no information for 'y'"):
        fisher_mean(models, {"x": {"a": torch.ones(3, 2)}})
    with pytest.raises(ConfigError, match="a scale for 'the base'"):
        task_arithmetic(model(2), models, {"x": 1.0, "y": 1.0, "the base": 1.0})
    with pytest.raises(ConfigError, match="2 models but 3 scales"):
        task_arithmetic(model(2), models, [1.0, 1.0, 1.0])


def test_models_with_nan_are_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = model(0), model(1)
    bad["b"][0] = torch.nan
    with caplog.at_level(logging.WARNING):
        found = mean({"good": good, "bad": bad})
    assert torch.equal(found["a"], good["a"]) and "'bad' (in b)" in caplog.text
    assert list(finite({"good": good, "bad": bad})) == ["good"]
    with pytest.raises(ModelError, match="Every model holds NaN"):
        finite([bad])


def test_the_fisher_mean_of_gaussian_estimates_is_the_precision_weighted_mean() -> None:
    """A location's Fisher information from n unit Gaussians is n per example: the mean is that of all the data."""
    few, many = torch.tensor([1.0, 3.0]), torch.tensor([5.0, 6.0, 7.0, 8.0, 9.0, 7.0])
    models = [{"m": few.mean()[None]}, {"m": many.mean()[None]}]
    found = fisher_mean(models, [{"m": torch.tensor([2.0])}, {"m": torch.tensor([6.0])}])
    torch.testing.assert_close(found["m"], torch.cat([few, many]).mean()[None])


def test_the_fisher_information_of_a_logistic_regression_is_its_closed_form() -> None:
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    spec = classes((3,), 4)
    found = diagonal_fisher(lambda params, inputs: inputs @ params["w"].T, {"w": weight}, x, spec)["w"]
    p = (x @ weight.T).softmax(1)
    torch.testing.assert_close(found, (p * (1 - p)).T @ x.square() / len(x))
    mask = torch.arange(7) < 4
    part = diagonal_fisher(lambda params, inputs: inputs @ params["w"].T, {"w": weight}, x, spec, mask)["w"]
    torch.testing.assert_close(part, (p * (1 - p))[:4].T @ x[:4].square() / 4)


def test_a_greedy_soup_is_never_below_its_best_member() -> None:
    target = torch.tensor([1.0, -1.0])
    models = {str(i): {"w": target + torch.randn(2, generator=torch.Generator().manual_seed(i))} for i in range(16)}

    def score(params: Params) -> float:
        return -float((params["w"] - target).square().sum())

    soup = greedy_soup(models, score)
    best = max(score(m) for m in models.values())
    assert soup.score >= best and soup.score == score(soup.params) and len(soup.members) > 1
    assert list(soup.scores.values()) == sorted(soup.scores.values(), reverse=True)
    torch.testing.assert_close(soup.params["w"], torch.stack([models[m]["w"] for m in soup.members]).mean(0))
    with pytest.raises(ConfigError, match="score that is a number"):
        greedy_soup(models, lambda params: float("nan"))


def test_the_line_between_two_minima_shows_the_barrier() -> None:
    ends = [{"w": torch.tensor([-1.0])}, {"w": torch.tensor([1.0])}]
    hill = interpolation(*ends, lambda params: float((params["w"].square() - 1).square()), points=5)
    assert hill.barrier == pytest.approx(1.0) and hill.positions[2] == 0.5
    valley = interpolation(*ends, lambda params: float(params["w"].square()))
    assert valley.barrier == pytest.approx(0.0, abs=1e-6)
    assert "barrier 1.0000" in str(hill) and "█" in str(hill)


def test_models_of_different_starts_are_pointed_out(caplog: pytest.LogCaptureFixture) -> None:
    start = {"w": torch.randn(1000, generator=torch.Generator().manual_seed(0))}
    near = [{"w": start["w"] + 0.1 * torch.randn(1000, generator=torch.Generator().manual_seed(s))} for s in (1, 2)]
    far = {"w": torch.randn(1000, generator=torch.Generator().manual_seed(9))}
    assert strangers(near) == [] and not caplog.text
    with caplog.at_level(logging.WARNING):
        found = strangers({"one": near[0], "two": near[1], "other": far})
    assert {pair[:2] for pair in found} == {("one", "other"), ("two", "other")} and "different initial" in caplog.text


def test_recalibration_finds_the_statistics_of_the_data() -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    layer = recalibrated(module, [x])[0]  # type: ignore[index]
    torch.testing.assert_close(layer.running_mean, x.mean(0))
    torch.testing.assert_close(layer.running_var, x.var(0))


def test_networks_of_different_starts_are_told_apart_in_spite_of_what_all_networks_share() -> None:
    spec = classes((1, 28, 28), 5)
    networks = [Network(conv4(spec)).init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert len(strangers(networks)) == 1
    moved = {name: value + 0.001 for name, value in networks[0].items()}
    assert strangers([networks[0], moved]) == []

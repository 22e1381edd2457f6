"""Estimates of accuracy, temperatures and unknown inputs, where the truth is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.trust.classes import class_variance, shares
from quickstudy.trust.estimate import Accuracy, fitted_estimator, overruled
from quickstudy.trust.regress import Linear
from quickstudy.trust.temperature import fitted_temperature

QUERIES, LEFT = 150, 50


def tasks(count: int, seed: int, mean: float = 1.0) -> tuple[list[Tensor], list[float]]:
    """A feature that is how often LEFT examples are right, and how often QUERIES are, for tasks of a drawn accuracy."""
    generator = torch.Generator().manual_seed(seed)
    angle = mean + 0.1 * torch.randn(count, generator=generator, dtype=torch.float64)
    truth = angle.clamp(0.2, 1.5).sin().square()
    seen = torch.binomial(torch.full_like(truth, LEFT), truth, generator=generator) / LEFT
    asked = torch.binomial(torch.full_like(truth, QUERIES), truth, generator=generator) / QUERIES
    return list(seen.sqrt().asin()[:, None]), asked.tolist()


def test_intervals_hold_the_truth_of_new_tasks_as_often_as_they_say() -> None:
    features, accuracy = tasks(300, 0)
    estimator = fitted_estimator(features, accuracy, QUERIES, 0)
    new, truth = tasks(2000, 1)
    for level in (0.5, 0.8, 0.9):
        said = [estimator.at(one, level) for one in new]
        held = sum(one.low <= exact <= one.high for one, exact in zip(said, truth, strict=True)) / len(truth)
        assert abs(held - level) < 3 * math.sqrt(level * (1 - level) / 300) + 0.01
    width = sum(one.high - one.low for one in said) / len(said)
    alone = 2 * 1.645 * math.sqrt(sum(p * (1 - p) for p in truth) / len(truth) * (1 / LEFT + 1 / QUERIES))
    assert width < 0.95 * alone  # as it knows what tasks are like


def test_few_classes_make_intervals_wide_enough_for_other_classes() -> None:
    """Ten of twelve classes, each with an accuracy of its own: tasks of others differ far more than these do. Those who
    know which classes were in a task also know how much is of them, and need not fear that all is."""
    generator = torch.Generator().manual_seed(0)
    ways_to = ("nothing", "how many", "which")
    held, width = dict.fromkeys(ways_to, 0), dict.fromkeys(ways_to, 0.0)
    for world in range(40):
        classes = 0.75 + 0.15 * torch.randn(64, generator=generator, dtype=torch.float64)

        def made(of: Tensor, count: int) -> tuple[list[Tensor], list[float], list[list[str]]]:
            chosen = [torch.randperm(len(of), generator=generator)[:10] for _ in range(count)]
            own = 0.025 * torch.randn(count, generator=generator, dtype=torch.float64)
            truth = (torch.stack([of[one] for one in chosen]).mean(1) + own).clamp(0.05, 0.99)
            seen = torch.binomial(torch.full_like(truth, LEFT), truth, generator=generator) / LEFT
            asked = torch.binomial(torch.full_like(truth, QUERIES), truth, generator=generator) / QUERIES
            names = [[str(i) for i in one.tolist()] for one in chosen]
            return list(seen.sqrt().asin()[:, None]), asked.tolist(), names

        known, accuracy, names = made(classes[:12], 120)
        new, truth, _ = made(classes[12:24], 10)
        for how in ways_to:
            sizes, few = [(10, 5)] * 120, None if how == "nothing" else 12
            by = fitted_estimator(known, accuracy, QUERIES, world, sizes, few, names if how == "which" else ())
            said = [by.at(one) for one in new]
            held[how] += sum(one.low <= exact <= one.high for one, exact in zip(said, truth, strict=True))
            width[how] += sum(one.high - one.low for one in said)
    assert held["nothing"] / 400 < 0.85 <= held["which"] / 400 < held["how many"] / 400
    assert width["which"] < 0.8 * width["how many"]


def test_what_classes_add_is_told_from_what_tasks_do() -> None:
    """A mean over classes of a variance u, and one of tasks: both are found again, and nothing where there is none."""
    generator = torch.Generator().manual_seed(0)
    for of_class, of_task in ((0.3, 0.05), (0.1, 0.1), (0.0, 0.1)):
        found = []
        for _ in range(30):
            names = [[str(i) for i in torch.randperm(40, generator=generator)[:8].tolist()] for _ in range(200)]
            part = shares(names)
            own = of_class * torch.randn(part.shape[1], generator=generator, dtype=torch.float64)
            found.append(class_variance(part @ own + of_task * torch.randn(200, generator=generator).double(), part))
        assert sum(found) / len(found) == pytest.approx(of_class**2, rel=0.2, abs=0.2 * of_task**2)


def test_levels_that_the_tasks_cannot_tell_are_refused() -> None:
    features, accuracy = tasks(40, 0)
    estimator = fitted_estimator(features, accuracy, QUERIES, 0)
    for level in (0.999, 1.0, -0.1):
        with pytest.raises(ConfigError, match="as it rests on 40 tasks"):
            estimator.at(features[0], level)


def test_an_estimate_reads_well() -> None:
    said = Accuracy(0.87, 0.81, 0.92, 0.9, 300, 150, "one shot")
    assert str(said) == "87 % (81 to 92 %, 90 % interval from 300 validation tasks); one shot"


def test_the_temperature_that_logits_were_multiplied_by_is_found_again() -> None:
    """Labels are drawn from the softmax; logits are told 1, 2 and 4 times as large, by a feature that says which."""
    generator = torch.Generator().manual_seed(0)
    features, logits, y = [], [], []
    for i in range(150):
        exact = 2 * torch.randn((200, 5), generator=generator, dtype=torch.float64)
        power = i % 3
        features.append(torch.tensor([float(power), 1.0]))
        logits.append(2.0**power * exact)
        y.append(torch.multinomial(exact.softmax(1), 1, generator=generator)[:, 0])
    found = fitted_temperature(features, logits, y)
    for power in range(3):
        assert float(found(torch.tensor([float(power), 1.0])).exp()) == pytest.approx(2.0**power, rel=0.05)


def test_the_share_among_ever_more_inputs_has_a_narrower_interval_that_holds_as_often() -> None:
    features, accuracy = tasks(600, 0)
    estimator = fitted_estimator(features, accuracy, QUERIES, 0)
    generator = torch.Generator().manual_seed(1)
    angle = 1.0 + 0.1 * torch.randn(2000, generator=generator, dtype=torch.float64)
    truth = angle.clamp(0.2, 1.5).sin().square()
    seen = torch.binomial(torch.full_like(truth, LEFT), truth, generator=generator) / LEFT
    new = list(seen.sqrt().asin()[:, None])
    said = [estimator.at(one, 0.9, queries=math.inf) for one in new]
    held = sum(one.low <= exact <= one.high for one, exact in zip(said, truth.tolist(), strict=True)) / len(said)
    assert abs(held - 0.9) < 0.04
    few, same = (estimator.at(new[0], 0.9, queries=count) for count in (20, QUERIES))
    assert said[0].high - said[0].low < same.high - same.low < few.high - few.low
    assert same == estimator.at(new[0], 0.9)
    with pytest.raises(ConfigError, match="1 new input or more, found 0"):
        estimator.at(new[0], 0.9, queries=0)


def test_left_out_examples_overrule_what_other_tasks_were_like_only_where_they_contradict_it() -> None:
    by = Linear(centre=(0.0, 0.0, 1.4), scale=(1.0, 1.0, 0.05), weights=(0.0, 0.0, 0.0), bias=1.4)
    said = Accuracy(0.97, 0.9, 1.0, 0.9, 200, 300)

    def at(share: float, shots: int = 10) -> Accuracy:
        features = torch.tensor([math.log(10), math.log(shots), math.asin(math.sqrt(share))], dtype=torch.float64)
        return overruled(said, by, 2, features)

    assert at(0.9) == said  # within what other tasks had
    assert at(0.8, shots=1) == said  # eight of ten are no contradiction
    own = at(0.5)
    assert own.mean == pytest.approx(0.5) and own.tasks == 0 and "far fewer" in own.note
    half = 1.645 * math.sqrt(0.25 * (1 / 100 + 1 / 300))  # the binomial interval
    assert own.high - own.low == pytest.approx(2 * half, rel=0.01)
    assert at(0.01).mean == pytest.approx(0.1)  # as guessing

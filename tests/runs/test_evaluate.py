"""Figures: the mean and interval of the values, repeatable, and independent of how the work is cut up."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import blobs, class_run, linear_run

from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.estimate import confidence
from quickstudy.evaluation.evaluate import metrics_of
from quickstudy.evaluation.result import Result
from quickstudy.recipes.small import sinusoid_maml
from quickstudy.registry import learners
from quickstudy.runs.run import Run
from quickstudy.runs.train import train
from quickstudy.storage.json import read_json, write_json
from quickstudy.tasks.base import Sampling


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(linear_run(), out=tmp_path_factory.mktemp("linear") / "run", quiet=True)


@pytest.fixture(scope="module")
def sinusoid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = sinusoid_maml()
    config = linear_run(tasks=recipe.tasks, learner=recipe.learner, shots=5, queries=20, iterations=2)
    return train(config, out=tmp_path_factory.mktemp("sinusoid") / "run", quiet=True)


def test_mean_and_interval_by_hand(linear: Run) -> None:
    result = linear.evaluate(episodes=50)
    assert len(result.values) == result.episodes == 50
    assert result.mean == pytest.approx(statistics.fmean(result.values), abs=1e-6)
    assert result.ci95 == pytest.approx(1.96 * statistics.stdev(result.values) / math.sqrt(50), abs=1e-6)
    assert {round(value * 8, 4) % 1 for value in result.values} == {0.0}, "shares of 2 x 4 queries"
    assert (result.metric, result.ways, result.shots, result.queries) == ("accuracy", 2, 3, 4)
    assert (result.split, result.seed, result.steps, result.transductive) == ("test", 0, 2, False)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(400, 100, generator=generator)
    inside = [abs(mean - 0.5) <= ci95 for mean, ci95 in map(confidence, values)]
    assert 0.91 < statistics.fmean(inside) < 0.98


def test_accuracy_is_the_share_of_right_answers(linear: Run) -> None:
    source, engine = linear.sampled(Sampling(ways=2, shots=3, queries=4))
    episodes = source.episodes("test", torch.arange(10))
    right = engine.predictions(linear.params, episodes).argmax(dim=2) == episodes.query.y
    assert right.float().mean(dim=1).tolist() == pytest.approx(linear.evaluate(episodes=10).values, abs=1e-5)


def test_same_seed_same_values(linear: Run) -> None:
    values = linear.evaluate(episodes=20).values
    assert linear.evaluate(episodes=20).values == values
    assert Run(linear.folder).evaluate(episodes=20).values == values
    assert linear.evaluate(episodes=20, seed=1).values != values
    assert linear.evaluate(episodes=20, split="val").values != values
    assert linear.evaluate(episodes=20, params=linear.untrained()).values != values


def test_how_the_work_is_cut_up_does_not_matter(linear: Run, sinusoid: Run) -> None:
    for run in (linear, sinusoid):
        many = run.evaluate(episodes=37).values
        assert run.evaluate(episodes=5).values == pytest.approx(many[:5], rel=1e-4)
        source, engine = run.sampled(run.config.sampling)
        name = source.spec.target.metric.name
        single = [metrics_of(engine, run.params, source.episodes("test", torch.tensor([i])))[name] for i in range(20)]
        assert torch.cat(single).tolist() == pytest.approx(many[:20], rel=1e-4)


def test_other_sizes_and_steps(linear: Run) -> None:
    result = linear.evaluate(shots=1, queries=7, steps=0, episodes=10)
    assert (result.shots, result.queries, result.steps) == (1, 7, 0)
    assert linear.evaluate(shots=1, queries=7, steps=3, episodes=10).values != result.values


def test_more_ways_than_trained_with(tmp_path: Path) -> None:
    run = train(class_run("protonet"), out=tmp_path / "run", source=blobs(), quiet=True)
    assert run.evaluate(ways=4, episodes=20).ways == 4
    with pytest.raises(DataError, match="5-way tasks need 5 classes, but the split 'test' has 4"):
        run.evaluate(ways=5, episodes=20)
    with pytest.raises(ConfigError, match="does not adapt in steps"):
        run.evaluate(steps=3, episodes=20)


def test_transductive_results_say_so(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.BatchNorm1d(6))
    config = replace(class_run("protonet"), learner=learners.part("protonet", norm="batch"))
    run = train(config, out=tmp_path / "run", module=module, source=blobs(), quiet=True)
    assert run.evaluate(episodes=2).transductive


@pytest.mark.parametrize(
    ("metric", "mean", "ci95", "text"),
    [
        ("accuracy", 0.98904, 0.00213, "98.9 ± 0.2 %"),
        ("accuracy", 1.0, 0.0, "100.0 ± 0.0 %"),
        ("accuracy", 0.5, 0.1234, "50.0 ± 12.3 %"),
        ("mse", 0.35149, 0.0142, "0.351 ± 0.014"),
        ("mse", 12.345, 0.8, "12.35 ± 0.80"),
        ("mse", 0.00123, 0.000045, "0.001230 ± 0.000045"),
    ],
)
def test_written_as_papers_do(metric: str, mean: float, ci95: float, text: str) -> None:
    result = Result(
        metric=metric, mean=mean, ci95=ci95, episodes=2, split="test", ways=5, shots=1, queries=15, seed=0,
        transductive=False, steps=None, values=[mean, mean],
    )  # fmt: skip
    assert str(result) == text


def test_result_survives_a_file(sinusoid: Run, tmp_path: Path) -> None:
    result = sinusoid.evaluate(episodes=5)
    assert result.metric == "mse" and result.machine and result.seconds > 0
    write_json(tmp_path / "result.json", result.to_json())
    assert Result.from_json(read_json(tmp_path / "result.json")) == result
    assert json.loads((tmp_path / "result.json").read_text())["values"] == result.values


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "tset"}, "Did you mean 'test'"),
        ({"episodes": 0}, "episodes must be at least 1, found 0"),
        ({"shots": 0}, "shots must be at least 1"),
        ({"queries": 0}, "queries must be at least 1"),
        ({"ways": 0}, "ways"),
        ({"steps": -1}, "cannot be negative"),
    ],
)
def test_what_cannot_be_measured(linear: Run, options: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        linear.evaluate(**({"episodes": 4} | options))
    assert said in str(caught.value)

"""Learners of tasks that can be guessed: found out, told of wherever results are read, and helped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guessable import Guessable
from small_runs import linear_run

from quickstudy.cli import main
from quickstudy.evaluation import evaluate as evaluation
from quickstudy.evaluation.result import Result
from quickstudy.evaluation.support_use import TASKS, SupportUse
from quickstudy.recipes.small import sinusoid_maml
from quickstudy.registry import learners, models, sources
from quickstudy.report import report
from quickstudy.runs.reproduce import measure
from quickstudy.runs.results import page
from quickstudy.runs.run import Run
from quickstudy.runs.train import train
from quickstudy.storage.json import read_json, write_json
from quickstudy.testing import check_source
from quickstudy.training.config import RunConfig
from quickstudy.training.protocol import Protocol


def run_of(learner: str, **changes: Any) -> RunConfig:
    config = linear_run(
        learner=learners.part(learner), model=models.part("mlp", width=32, depth=2), queries=5, iterations=300,
        meta_batch=16, lr=3e-3, validate_every=300, checkpoint_every=300, log_every=20,
    )  # fmt: skip
    return replace(config, tasks=sources.part("guessable"), **changes)


@pytest.fixture(scope="module", autouse=True)
def guessable() -> Iterator[None]:
    """The source by name, so that commands find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_entries", dict(sources._load()))
        sources.register("guessable")(lambda: Guessable())
        yield


@pytest.fixture(scope="module")
def guessing(tmp_path_factory: pytest.TempPathFactory, guessable: None) -> Run:
    return train(run_of("cavia"), out=tmp_path_factory.mktemp("guessing") / "run", quiet=True)


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory, guessable: None) -> Run:
    return train(run_of("cavia", shuffle_labels=True), out=tmp_path_factory.mktemp("shuffled") / "run", quiet=True)


def test_the_tasks_are_as_they_say() -> None:
    check_source(Guessable(), disjoint=False)


def test_a_learner_that_guesses_is_found_out(guessing: Run) -> None:
    result = guessing.evaluate(episodes=100)
    assert result.mean > 0.98, "it looks very good"
    assert result.ignores_support
    assert result.support is not None and result.support.tasks == TASKS
    assert str(result.support.other_minus_own) in result.warning
    assert "ignores its support set" in result.warning and "--shuffle-labels" in result.warning
    assert "Evaluate more tasks" not in result.warning
    assert "Evaluate more tasks" in guessing.evaluate(episodes=20).warning
    assert guessing.evaluate(episodes=20, compare_supports=False).support is None
    assert guessing.evaluate(episodes=1).support is None
    none = guessing.evaluate(episodes=20, steps=0)
    assert none.ignores_support and not none.warning, "0 steps cannot do otherwise"


def test_shuffled_labels_make_it_use_the_support_set(shuffled: Run) -> None:
    result = shuffled.evaluate(episodes=100)
    gain = result.support.other_minus_own if result.support else None
    assert gain is not None and gain.mean - gain.ci95 > 0.5, "in nats"
    assert result.mean > 0.9 and not result.ignores_support and not result.warning


def test_a_learner_of_sine_curves_uses_its_points(tmp_path: Path) -> None:
    recipe = sinusoid_maml()
    config = replace(run_of("maml", iterations=200, shots=5), tasks=recipe.tasks, learner=recipe.learner)
    result = train(config, out=tmp_path / "run", quiet=True).evaluate(episodes=100)
    assert result.metric == "mse" and result.support is not None and not result.support.missing
    assert not result.warning
    ignoring = replace(result.support, other_minus_own=replace(result.support.own, mean=0.0))  # type: ignore[type-var]
    assert "--target-offset" in replace(result, support=ignoring).warning


def test_commands_say_it_in_one_line(guessing: Run, shuffled: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for run, expected in ((guessing, 1), (shuffled, 0)):
        out = run.folder / "evaluation.json"
        main(["evaluate", str(run.folder), "--episodes", "70", "--untrained", "--out", str(out)])
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Warning: ")]
        assert len(lines) == expected
        beside = ("network", "trust")
        trained, untrained = (Result.from_json({k: v for k, v in r.items() if k not in beside}) for r in read_json(out))
        assert trained.ignores_support == bool(expected) and untrained.support is None
        main(["report", str(run.folder), "--episodes", "70"])
        assert capsys.readouterr().out.count("Warning: ") == expected


def test_the_report_shows_it(guessing: Run, shuffled: Run) -> None:
    for run, expected in ((guessing, 1), (shuffled, 0)):
        text = report(run, episodes=70).read_text()
        assert text.count('<div class="warning"') == expected
        numbers = json.loads((run.folder / "report.json").read_text())
        assert bool(numbers["warning"]) == bool(expected)
        assert numbers["headline"]["trained"]["support"]["tasks"] == 64
        assert numbers["headline"]["untrained"]["support"] is None


def test_reproduced_figures_say_it(guessing: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocols = (Protocol(name="2-way", ways=2, shots=3, queries=5, episodes=70),)
    monkeypatch.setattr(guessing, "config", replace(guessing.config, protocols=protocols))
    stored = read_json(measure(guessing, tmp_path / "made-up.json"))
    assert Result.from_json(stored["protocols"][0]["result"]).ignores_support
    assert stored["baselines"][0]["result"]["support"] is None
    assert "**Warning** (2-way): The learner ignores its support set" in page(tmp_path)
    del stored["protocols"][0]["result"]["support"]  # as versions stored it that did not look
    write_json(tmp_path / "made-up.json", stored)
    assert "Warning" not in page(tmp_path)
    assert Result.from_json(stored["protocols"][0]["result"]).support is None


def test_training_does_not_pay_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def paid(*_: Any, **__: Any) -> SupportUse:
        raise AssertionError("measured in training")

    monkeypatch.setattr(evaluation, "support_use", paid)
    run = train(run_of("protonet", iterations=4, validate_every=2), out=tmp_path / "run", quiet=True)
    with pytest.raises(AssertionError, match="measured in training"):
        run.evaluate(episodes=2)

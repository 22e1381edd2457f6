"""Short trainings that must learn: every family beats chance and its own untrained network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import blobs, class_run

from quickstudy.recipes.small import sinusoid_maml
from quickstudy.registry import learners, models, sources
from quickstudy.runs.train import train
from quickstudy.training.config import RunConfig


@pytest.mark.parametrize("learner", ["protonet", "simpleshot", "finetune", "r2d2"])
def test_classes_among_distractions(learner: str, tmp_path: Path) -> None:
    """Half of the features are noise, which only training over many tasks can learn to leave out."""
    config = class_run(
        learner,
        iterations=150,
        lr=5e-3,
        validate_every=150,
        checkpoint_every=150,
        calibration_episodes=4,
    )
    run = train(config, out=tmp_path / "run", source=blobs(classes=60, distraction=2.0), quiet=True)
    trained = run.evaluate(episodes=100)
    untrained = run.evaluate(episodes=100, params=run.untrained())
    assert trained.mean - trained.ci95 > 1 / 3 + 0.15
    assert trained.mean - trained.ci95 > untrained.mean + untrained.ci95


def test_protonet_on_glyphs(tmp_path: Path) -> None:
    config = RunConfig(
        name="glyphs",
        tasks=sources.part("glyphs", alphabets=30, size=16),
        model=models.part("conv4", width=16),
        learner=learners.part("protonet"),
        ways=5,
        queries=3,
        train_ways=10,
        iterations=40,
        meta_batch=1,
        lr=5e-3,
        validate_every=40,
        validation_episodes=10,
        calibration_episodes=5,
        device="cpu",
    )
    run = train(config, out=tmp_path / "run", quiet=True)
    trained, untrained = run.evaluate(episodes=50), run.evaluate(episodes=50, params=run.untrained())
    assert trained.mean > untrained.mean + 0.05
    assert trained.mean - trained.ci95 > 0.2


def test_maml_learns_to_learn_sinusoids(tmp_path: Path) -> None:
    """After training each gradient step helps, and one step is worth more than without training."""
    changes: dict[str, Any] = {
        "iterations": 400,
        "meta_batch": 10,
        "validate_every": 400,
        "validation_episodes": 20,
        "lr": 3e-3,
        "average": 0.0,
    }
    run = train(replace(sinusoid_maml(), **changes, device="cpu"), out=tmp_path / "run", quiet=True)
    errors = {steps: run.evaluate(steps=steps, episodes=100).mean for steps in (0, 1, 10)}
    assert errors[10] < errors[1] < errors[0]
    assert errors[1] < 0.8 * run.evaluate(steps=1, episodes=100, params=run.untrained()).mean

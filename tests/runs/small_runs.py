"""Runs that train in a fraction of a second, and ways to compare what they leave behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from quickstudy.registry import learners, models, sources
from quickstudy.runs.train import train
from quickstudy.storage.tensors import load_tensors
from quickstudy.tasks import arrays
from quickstudy.tasks.classes import ClassSource
from quickstudy.training.config import RunConfig
from quickstudy.training.metrics import read_metrics
from quickstudy.training.step import Steps

TIMING = ("seconds", "episodes_per_second")


class Stopped(Exception):
    """What a test raises in the middle of training."""


def train_until(step: int, config: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, and die before outer step `step` + 1 without a chance to save."""
    take = Steps.take

    def dying(steps: Steps, number: int) -> Any:
        if number == step:
            raise Stopped
        return take(steps, number)

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "take", dying)
        with pytest.raises(Stopped):
            train(config, out=folder, quiet=True)


def linear_run(**changes: Any) -> RunConfig:
    """MAML on points in the plane."""
    config = RunConfig(
        name="small",
        tasks=sources.part("linear"),
        model=models.part("mlp", width=6, depth=1),
        learner=learners.part("maml", lr=0.1, steps=2),
        ways=2,
        shots=3,
        queries=4,
        iterations=12,
        meta_batch=2,
        lr=0.01,
        validate_every=4,
        validation_episodes=6,
        checkpoint_every=3,
        log_every=2,
        device="cpu",
    )
    return replace(config, **changes)


def class_run(learner: str, model: str = "mlp", **changes: Any) -> RunConfig:
    """A learner of classes, to be trained on `blobs`."""
    options = {"lr": 0.1, "steps": 10} if learner == "finetune" else {}
    config = linear_run(
        learner=learners.part(learner, **options), model=models.part(model), ways=3, shots=1, queries=5, batch=32
    )
    return replace(config, **changes)


def blobs(features: int = 8, classes: int = 20, noise: float = 0.3, distraction: float = 0.0) -> ClassSource:
    """Classes of 12 points around centres of their own; `distraction` adds as many features that only disturb."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, features, generator=generator)
    y = torch.arange(classes).repeat_interleave(12)
    x = centres[y] + noise * torch.randn(len(y), features, generator=generator)
    if distraction:
        x = torch.cat([x, distraction * torch.randn(len(y), features, generator=generator)], dim=1)
    return arrays(x, y)


def newest(folder: Path) -> Path:
    return sorted((folder / "checkpoints").glob("step-*.safetensors"))[-1]


def without_times(facts: Any) -> Any:
    """The facts of a file or a line of metrics that do not depend on the clock."""
    if isinstance(facts, dict):
        return {n: without_times(v) for n, v in facts.items() if n not in (*TIMING, "kept_at")}
    return facts


def left_behind(folder: Path) -> tuple[dict[str, Tensor], list[Any]]:
    """Everything of a run that must repeat: tensors of the kept model and the newest checkpoint; facts and metrics."""
    model, kept = load_tensors(folder / "model.safetensors")
    state, facts = load_tensors(newest(folder))
    tensors = {f"model.{n}": t for n, t in model.items()} | {f"checkpoint.{n}": t for n, t in state.items()}
    tensors.pop("checkpoint.random.cpu")  # of the process, not of the run
    return tensors, [without_times(line) for line in (kept, facts, *read_metrics(folder))]


def assert_same_bits(folder: Path, other: Path) -> None:
    """Both runs left the same tensors, bit for bit, and said the same."""
    (tensors, facts), (others, other_facts) = left_behind(folder), left_behind(other)
    assert tensors.keys() == others.keys()
    different = [n for n in tensors if not torch.equal(tensors[n], others[n])]
    assert not different, f"{different} differ"
    assert facts == other_facts

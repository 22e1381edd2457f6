"""Members that train on tasks: with one part they are a run that is trained in one place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quickstudy.averaging import Episodic
from quickstudy.averaging.runs import train_on_parts
from quickstudy.errors import ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.runs.train import train
from quickstudy.tasks.classes import ClassSource
from quickstudy.training.build import build
from quickstudy.training.config import RunConfig

STEPS = 4
MOMENTUM = {"optimizer": "SGD", "lr": 0.5, "optimizer_options": {"momentum": 0.9}}
FALLING = {"optimizer": "SGD", "lr": 2.0, "schedule": "CosineAnnealingLR"}
CYCLE = {"optimizer": "SGD", "lr": 0.5, "schedule": "OneCycleLR", "schedule_options": {"cycle_momentum": False}}


def config(**changes: Any) -> RunConfig:
    made = RunConfig(
        name="small",
        tasks=sources.part("glyphs", alphabets=6, characters=6, size=16, within=True),
        model=models.part("mlp", width=8, depth=1),
        learner=learners.part("maml", lr=0.1, steps=1),
        ways=3,
        queries=2,
        iterations=STEPS,
        meta_batch=2,
        validate_every=STEPS,
        validation_episodes=2,
        calibration_episodes=1,
        vectorize="vmap",
        compile="off",
        device="cpu",
    )
    return replace(made, **changes)


def furthest(one: Any, other: Any) -> float:
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


@pytest.mark.parametrize(
    ("changes", "rounds"),
    [({**MOMENTUM, "clip": 0.1}, 1), ({"optimizer": "Muon"}, 1), (FALLING, 1), (FALLING, 2), (CYCLE, 4)],
    ids=["momentum, clipped", "Muon", "cosine", "cosine over two rounds", "cycle over four rounds"],
)
def test_one_part_is_training_in_one_place(changes: dict[str, Any], rounds: int, tmp_path: Path) -> None:
    """Bit for bit. Over several rounds too, where the optimizer has no state that would begin anew."""
    settings = config(**changes)
    apart = train_on_parts(
        replace(settings, average=0.9), tmp_path / "parts", rounds=rounds, steps=STEPS // rounds, divide="classes",
        parts=1, backend="loop",
    )  # fmt: skip
    together = train(settings, out=tmp_path / "run", quiet=True)
    assert furthest(apart.params, together.params) == 0
    plain = train(replace(settings, clip=0.0, schedule="none"), out=tmp_path / "plain", quiet=True)
    assert changes["optimizer"] == "Muon" or furthest(plain.params, together.params) > 1e-3, "they had an effect"


def test_state_begins_anew_in_each_round(tmp_path: Path) -> None:
    settings = config(**MOMENTUM)
    pool = build(settings).training
    assert isinstance(pool, ClassSource)
    engine = build(settings).training_engine
    params = engine.learner.init(torch.Generator().manual_seed(0))
    once, twice = (Episodic.by_class(engine, pool, settings.outer, 1, steps, 2) for steps in (2, 1))
    first = twice(params, 0, 0)
    assert furthest(twice(first, 0, 1), once(params, 0, 0)) > 1e-3, "momentum would have carried on"
    plain = replace(settings.outer, optimizer_options={})
    alone = Episodic.by_class(engine, pool, plain, 1, 1, 2)
    assert furthest(alone(first, 0, 1), twice(first, 0, 1)) == 0  # the first step of momentum is that of SGD


def test_a_moving_average_is_refused() -> None:
    settings = config(average=0.99)
    parts = build(settings)
    assert isinstance(parts.training, ClassSource)
    with pytest.raises(ConfigError, match="would hold them back, found one with the decay 0.99. Set average=0"):
        Episodic.by_class(parts.training_engine, parts.training, settings.outer, 2)

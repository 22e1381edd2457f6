"""Made-up photographs, and runs on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from quickstudy.formats import Image
from quickstudy.registry import Part, learners, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks import arrays
from quickstudy.tasks.classes import ClassSource
from quickstudy.training.config import RunConfig


def photos(size: int = 32, channels: int = 3, ways: int = 3) -> TaskSpec:
    return TaskSpec(Image(size=size, channels=channels), targets.make("classes", ways=ways))  # type: ignore[arg-type]


def coloured(size: int = 32, classes: int = 16, each: int = 8) -> ClassSource:
    """Classes of images of one colour each, with noise."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(classes).repeat_interleave(each)
    colours = torch.rand(classes, 3, 1, 1, generator=generator)[y]
    noise = 0.1 * torch.randn(len(y), 3, size, size, generator=generator)
    x = (colours.expand_as(noise) + noise).clamp(0, 1)
    return arrays((255 * x).to(torch.uint8), y, format=Image(size=size))


def photo_run(learner: str, model: Part[Any], options: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    config = RunConfig(
        name="photos",
        model=model,
        learner=learners.part(learner, **(options or {})),
        ways=3,
        shots=1,
        queries=2,
        batch=8,
        iterations=2,
        meta_batch=2,
        validate_every=2,
        validation_episodes=4,
        calibration_episodes=1,
        checkpoint_every=1,
        lr=1e-3,
        device="cpu",
    )
    return replace(config, **changes)

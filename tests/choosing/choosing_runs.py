"""Recipes and tasks on which a search takes seconds."""

from __future__ import annotations

from typing import Any

import torch

from quickstudy.registry import OWN, learners, models, sources
from quickstudy.tasks import arrays
from quickstudy.tasks.base import Source
from quickstudy.training.config import RunConfig


def _run(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "name": "small", "learner": learners.part("protonet"), "model": models.part("mlp"), "ways": 3, "shots": 2,
        "queries": 4, "iterations": 20, "meta_batch": 2, "batch": 16, "validation_episodes": 8, "device": "cpu",
        "compile": "off", "vectorize": "vmap",
    }  # fmt: skip
    return RunConfig(**settings | changes)


def blob_run(ways: int = 3) -> tuple[RunConfig, Source]:
    """Classes of points around centres of their own, beside as many numbers that only disturb."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(24, 6, generator=generator)
    y = torch.arange(24).repeat_interleave(12)
    x = centres[y] + 0.4 * torch.randn(len(y), 6, generator=generator)
    x = torch.cat([x, 2.0 * torch.randn(len(y), 6, generator=generator)], dim=1)
    return _run(ways=ways, tasks=sources.part(OWN)), arrays(x, y)


def numbers_run() -> tuple[RunConfig, Source]:
    """Sine curves."""
    config = _run(tasks=sources.part("sinusoid"), learner=learners.part("r2d2"), ways=1, shots=5, queries=5)
    return config, config.tasks.build()

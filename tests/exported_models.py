"""Models adapted by networks that nobody has trained, as a run would adapt them."""

from __future__ import annotations

from typing import Any

import torch

import quickstudy as qs
from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.model import Model
from quickstudy.registry import learners, models
from quickstudy.spec import TaskSpec
from quickstudy.training.learner import build_learner


def learned(
    learner: str,
    spec: TaskSpec,
    records: Any,
    labels: Any = None,
    model: str = "conv4",
    options: Any = None,
    **network: Any,
) -> Model:
    """network: options of the model. options: of the learner."""
    config = qs.RunConfig(
        name="m", model=models.part(model, **network), learner=learners.part(learner, **(options or {}))
    )
    built = build_learner(config, spec)
    params = built.init(torch.Generator().manual_seed(0))
    return adapt(config, built, params, Given(records=records, labels=labels))

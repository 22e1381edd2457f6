"""Labels of a support set of which some examples have none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import DataError
from quickstudy.learners import Learner
from quickstudy.masked import UNLABELLED


def one_by_one(labels: Any) -> list[Any]:
    """Labels of any kind as a list; none where there are none."""
    listed: list[Any] = labels.tolist() if hasattr(labels, "tolist") else list(labels if labels is not None else ())
    return listed


def partly_encoded(learner: Learner, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
    """What the target makes of labels, some of which may be None for a learner that learns from such examples."""
    told = labels if isinstance(labels, list | tuple) else ()
    known = [i for i, label in enumerate(told) if label is not None]
    if len(known) == len(told) or not learner.semi_supervised:
        return learner.spec.target.encode(labels)
    if not known:
        raise DataError("No support example has a label. Give one of each class at least.")
    some, names = learner.spec.target.encode([told[i] for i in known])
    y = torch.full((len(told),), UNLABELLED)
    y[known] = some
    return y, names

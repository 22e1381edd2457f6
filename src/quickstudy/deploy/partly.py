"""Labels of a support set of which some examples have none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import DataError
from quickstudy.gaps import missing
from quickstudy.masked import UNLABELLED
from quickstudy.targets.base import Target


def one_by_one(labels: Any) -> list[Any]:
    """Labels of any kind as a list; none where there are none."""
    listed: list[Any] = labels.tolist() if hasattr(labels, "tolist") else list(labels if labels is not None else ())
    return listed


def partly_encoded(target: Target, labels: Any, partly: bool) -> tuple[Tensor, tuple[str, ...]]:
    """What the target makes of labels. partly: some may be None, or what pandas writes for it, as the learner learns
    from such examples."""
    told = labels if isinstance(labels, list | tuple) else one_by_one(labels) if hasattr(labels, "tolist") else ()
    known = [i for i, label in enumerate(told) if hasattr(label, "__len__") or not missing(label)]
    if len(known) == len(told) or not partly:
        return target.encode(labels)
    if not known:
        raise DataError("No support example has a label. Give one of each class at least.")
    some, names = target.encode([told[i] for i in known])
    y = torch.full((len(told),), UNLABELLED)
    y[known] = some
    return y, names

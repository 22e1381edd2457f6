"""Labels of a support set: some examples may have none, and what contradicts another is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Features
from quickstudy.errors import DataError
from quickstudy.formats.records import Placed
from quickstudy.gaps import missing
from quickstudy.masked import UNLABELLED
from quickstudy.targets.base import Target
from quickstudy.tasks.stored import prints, say_alike, say_contrary


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


def say_doubtful(x: Features, y: Tensor, names: Sequence[str], records: Any, kept: Sequence[int], what: str) -> None:
    """Say of a support set which classes may be one, and which examples are equal and of two classes.

    x: compact tensors (n, …). y: classes (n,). records: as they were given; kept: which of them are in the set, first.
    """
    given = records if isinstance(records, list | tuple) else ()
    rows = (y != UNLABELLED).nonzero().flatten().tolist()
    called = [_called(given, kept[i] if i < len(kept) else len(given)) for i in rows]
    labels = [names[i] for i in y[rows].tolist()]
    say_alike(labels)
    say_contrary(prints(x)[rows], labels, called, what)


def _called(given: Sequence[Any], index: int) -> str:
    record = given[index] if index < len(given) else None
    if isinstance(record, Placed):
        return record.place
    return str(record) if isinstance(record, Path) else f"example {index + 1}"

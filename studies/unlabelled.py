"""Omniglot learned without labels: each training drawing is a class of its own (UMTRA), or clusters are (CACTUs)."""

from __future__ import annotations

from dataclasses import replace

import torch

from quickstudy.formats.augment import Augment
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import RepeatedPool, TensorPool

SYMMETRIES, WAYS, EPISODES, QUERIES, VALIDATION = 8, 64, 1000, 15, 200
STEPS, WIDTH = 300, 32
_SEED = 0


def without_labels(source: ClassSource, how: Augment, symmetries: int = SYMMETRIES) -> ClassSource:
    """The same drawings, of which those for training are classes of their own; whose drawings they are is forgotten."""
    pool = source.pool
    assert isinstance(pool, TensorPool)
    training = source.splits["train"]
    rows = torch.cat([pool.rows[pool.starts[c] : pool.starts[c] + pool.counts[c]] for c in training.tolist()])
    count, labelled = len(rows), len(pool.counts)
    one = torch.ones(count, dtype=torch.int64)
    alone = RepeatedPool(
        format=pool.format, x=pool.x, rows=torch.cat([pool.rows, rows]),
        starts=torch.cat([pool.starts, len(pool.rows) + torch.arange(count)]), own=torch.cat([pool.counts, one]),
        counts=torch.cat([pool.counts, one << 20]), groups=torch.cat([pool.groups, one - 1]),
        names=(*pool.names, *(f"drawing {i}" for i in range(count))),
    )  # fmt: skip
    splits = dict(source.splits) | {"train": labelled + torch.arange(count)}
    return replace(source, pool=alone, splits=splits, augmentation=how, symmetries=symmetries)

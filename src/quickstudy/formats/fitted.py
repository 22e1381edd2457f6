"""What each task's own support set teaches of its records."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import Features, map_features
from quickstudy.formats.base import Format


def fitted_features(format: Format, support: Features, seen: Tensor, query: Features) -> tuple[Features, Features]:
    """Features of both parts of T tasks, with the constants that each task's own support set teaches.

    support: compact tensors (T, n, …), of which `seen` (T, n) says which are there. query: compact tensors (T, m, …).
    Support and query features: (T, n, *features), (T, m, *features).
    """
    if not format.prepares:
        return format.features(support), format.features(query)
    parts: list[tuple[Features, Features]] = []
    for task, known in enumerate(seen):
        given, asked = (map_features(lambda t, task=task: t[task], part) for part in (support, query))
        fitted = format.prepare(map_features(lambda t, known=known: t[known], given))
        parts.append((format.features(given, fitted), format.features(asked, fitted)))
    given, asked = (map_features(lambda *t: torch.stack(t), *part) for part in zip(*parts, strict=True))
    return given, asked

"""Which of many unlabelled inputs are worth a label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def worth(probabilities: Tensor, known: Tensor | None, z: Tensor, count: int) -> list[int]:
    """The numbers of `count` of m inputs, the most helpful first: those between two classes (the margin of
    probabilities (m, N), Scheffer, Decomain & Wrobel 2001) that are of one of the classes at all (`known`, (m,)), and
    unlike those already chosen, by the cosine of their places z (m, D) about the mean of all.

    >>> p = torch.tensor([[0.9, 0.1], [0.55, 0.45], [0.54, 0.46], [0.6, 0.4]])
    >>> worth(p, None, torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.01], [-1.0, 0.0]]), 2)
    [2, 3]
    """
    top = probabilities.double().topk(2, dim=1).values
    doubt = 1 - (top[:, 0] - top[:, 1])
    if known is not None:
        doubt = doubt * known.double()
    away = F.normalize(z.double().flatten(1) - z.double().flatten(1).mean(0), dim=1)
    alike = torch.zeros_like(doubt)
    left = torch.ones_like(doubt, dtype=torch.bool)
    chosen: list[int] = []
    for _ in range(min(count, len(doubt))):
        score = torch.where(left, doubt * (1 - alike), -1.0)
        best = int(score.argmax())
        chosen.append(best)
        left[best] = False
        alike = torch.maximum(alike, (away @ away[best]).clamp(0, 1))
    return chosen

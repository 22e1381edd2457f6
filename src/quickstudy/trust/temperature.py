"""Probabilities that are as right as they say: logits over a temperature that follows what is known of a task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.trust.regress import Linear, scaled

_STEPS = 50
_PENALTY = 2e-3  # of the squared weights, of features in their own scale
_MOST = 10.0  # of the size of log T
_ABSENT = 1e4
_LEAST, _CLOSE = 1e-9, 1e-5


def fitted_temperature(features: Sequence[Tensor], logits: Sequence[Tensor], y: Sequence[Tensor]) -> Linear:
    """log T of T tasks with features (f,), which minimises the mean over tasks of the negative log-likelihood of the
    labels y (q,) under logits (q, N) / T (Guo et al. 2017, with a temperature for each task).

    Each step is Newton's with the expected curvature, the variance of the logits under the answer, halved where it does
    not pay.
    """
    x = torch.stack(list(features)).double()
    z, centre, scale = scaled(x, torch.ones(len(x), dtype=torch.float64))
    width = max(part.shape[1] for part in logits)
    said = torch.cat([_wide(part.double(), width) for part in logits])
    aim = torch.cat(list(y))
    weight = torch.cat([torch.full((len(part),), 1 / (len(part) * len(y))) for part in y]).double()
    rows = torch.cat([torch.ones_like(z[:, :1]), z], 1)[
        torch.cat([torch.full((len(part),), i) for i, part in enumerate(y)])
    ]
    shrink = torch.full((rows.shape[1],), _PENALTY, dtype=torch.float64)
    shrink[0] = 0

    def loss(found: Tensor) -> float:
        sharp = said * (-(rows @ found)).clamp(-_MOST, _MOST).exp()[:, None]
        missing = F.cross_entropy(sharp, aim, reduction="none")
        return float(weight @ missing + (shrink * found.square()).sum() / 2)

    found = torch.zeros(rows.shape[1], dtype=torch.float64)
    best = loss(found)
    for _ in range(_STEPS):
        sharp = said * (-(rows @ found)).clamp(-_MOST, _MOST).exp()[:, None]
        p = sharp.softmax(1)
        sharp = sharp.clamp(min=-_ABSENT)  # of classes without support, whose probability is 0
        mean = (p * sharp).sum(1)
        slope = sharp.gather(1, aim[:, None])[:, 0] - mean
        curve = (p * (sharp - mean[:, None]).square()).sum(1)
        gradient = rows.T @ (weight * slope) + shrink * found
        hessian = (rows * (weight * curve)[:, None]).T @ rows + torch.diag(shrink + _LEAST)
        step = torch.linalg.solve(hessian, gradient)
        while (new := loss(found - step)) > best and float(step.abs().max()) > _CLOSE:
            step = step / 2
        if new >= best - _CLOSE**2:
            break
        found, best = found - step, new
    return Linear(tuple(centre.tolist()), tuple(scale.tolist()), tuple(found[1:].tolist()), float(found[0]))


def _wide(logits: Tensor, width: int) -> Tensor:
    """Logits (q, width), with classes that are none."""
    return F.pad(logits, (0, width - logits.shape[1]), value=-1e9)

"""What a prediction costs. Padding never counts: every mean is taken over the examples whose mask is True."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples, TaskSpec


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (n,) over the examples where `mask` (n,) is True; 0 where there is none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def loss(prediction: Tensor, examples: Examples, spec: TaskSpec, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of logits (n, ways), or mean squared error of values (n, *target): a scalar."""
    if spec.kind == "classification":
        each = F.cross_entropy(prediction, examples.y, reduction="none", label_smoothing=smoothing)
    else:
        each = (prediction - examples.y).square().unsqueeze(-1).flatten(1).mean(dim=1)
    return masked_mean(each, examples.mask)


def metric_name(spec: TaskSpec) -> str:
    """The figure a task is judged by: 'accuracy' (higher is better) or 'mse' (lower is better)."""
    return "accuracy" if spec.kind == "classification" else "mse"


def metric(prediction: Tensor, examples: Examples, spec: TaskSpec) -> Tensor:
    """Accuracy in [0, 1], or mean squared error in the target's units squared: a scalar."""
    if spec.kind == "classification":
        return masked_mean((prediction.argmax(dim=-1) == examples.y).to(prediction.dtype), examples.mask)
    return loss(prediction, examples, spec)

"""What a prediction costs. Padding never counts: every mean is taken over the examples whose mask is True."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples, TaskSpec

_ROUNDING = 8.0  # times the relative precision: a spread this small beside the mean is no spread


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (n,) over the examples where `mask` (n,) is True; 0 where there is none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def mean_and_spread(values: Tensor, mask: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation along the axis `dim`, which stays with size 1, over what `mask` (broadcast) says.

    A spread that is rounding, beside the mean, is 0. Its gradient is then 0 too.
    """
    weight = mask.to(values.dtype).expand_as(values)
    count = weight.sum(dim, keepdim=True).clamp(min=1)
    known = torch.where(mask.expand_as(values), values, 0.0)
    mean = known.sum(dim, keepdim=True) / count
    variance = ((values - mean).square() * weight).sum(dim, keepdim=True) / count
    least = (_ROUNDING * torch.finfo(values.dtype).eps * mean).square()
    varies = variance > least
    return mean, torch.where(varies, torch.where(varies, variance, 1.0).sqrt(), 0.0)


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

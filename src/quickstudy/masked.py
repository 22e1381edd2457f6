"""Means and spreads over real examples. Padding never counts."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.errors import DataError

UNLABELLED = -1
"""The class id of an example that is there but whose class is not told: of a support set, or of a new domain."""
_LARGEST = 1e18  # the square of a float32 is one
_MANY = 1 << 20  # examples times classes, above which these are not held as a matrix
_ROUNDING = 8.0  # times the relative precision: a spread this small beside the mean is no spread


def one_hot(ids: Tensor, count: int) -> Tensor:
    """Which of `count` things each of `ids` (…) int64 is: (…, count) bool.

    PyTorch's own looks at the largest id, which a graph cannot: here ids that are none of them are nothing.
    """
    return ids[..., None] == torch.arange(count, device=ids.device)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (n,) over the examples where `mask` (n,) is True; 0 where there is none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def masked_quantile(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """The quantile of `values` (n,) where `mask` (n,) is True, on the line between two as `torch.quantile` has it."""
    ordered = torch.where(mask, values, torch.inf).sort().values
    place = share * (mask.sum() - 1).clamp(min=0).double()
    low, high = place.floor().long(), place.ceil().long()
    first, second = ordered[low[None]][0], ordered[high[None]][0]
    return first + (place - low) * torch.where(high > low, second - first, 0.0)


def class_sums(z: Tensor, support: Examples, ways: int) -> tuple[Tensor, Tensor]:
    """Sum of z (n, D) over each class, (N, D), and how many examples each has, (N,), in the precision of z."""
    if not torch.compiler.is_exporting() and ways * len(support.y) > _MANY:
        there = support.mask & (support.y >= 0) & (support.y < ways)
        at, each = torch.where(there, support.y, 0), there.to(z.dtype)
        counts = z.new_zeros(ways).index_add(0, at, each)
        return z.new_zeros((ways, z.shape[1])).index_add(0, at, torch.where(there[:, None], z, 0.0)), counts
    members = one_hot(support.y, ways).to(z.dtype) * support.mask[:, None]
    return members.T @ z, members.sum(dim=0)


def class_means(z: Tensor, support: Examples, ways: int) -> tuple[Tensor, Tensor]:
    """Mean of z (n, D) over each class, (N, D), and which classes have support, (N,) bool."""
    sums, counts = class_sums(z, support, ways)
    return sums / counts.clamp(min=1)[:, None], counts > 0


def unlabelled(examples: Examples) -> Tensor:
    """Which examples (n,) bool are there without a label."""
    return examples.mask & (examples.y == UNLABELLED)


def require_range(values: Tensor, name: str) -> None:
    """DataError for finite numbers (n, …) whose squares float32 cannot hold, or which are all as small."""
    size = torch.where(torch.isfinite(values), values, 0).abs() if values.is_floating_point() else values.new_zeros(0)
    largest = float(size.max()) if size.numel() else 0.0
    if largest > _LARGEST or 0 < largest < 1 / _LARGEST:
        where = int(size.flatten(1).amax(1).argmax()) if size.dim() > 1 else int(size.argmax())
        raise DataError(
            f"{name} holds numbers as {'large' if largest > 1 else 'small'} as {largest:.2g}, the largest in example "
            f"{where}, which cannot be computed with. Give them in another unit, so that they are nearer to 1."
        )


def mean_and_spread(values: Tensor, mask: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation along the axis `dim`, which stays with size 1, over what `mask` (broadcast) says.

    A spread that is rounding, beside the mean, is 0. Its gradient is then 0 too.
    """
    weight = mask.to(values.dtype).expand_as(values)
    count = weight.sum(dim, keepdim=True).clamp(min=1)
    known = torch.where(mask.expand_as(values), values, 0.0)
    mean = known.sum(dim, keepdim=True) / count
    variance = ((known - mean).square() * weight).sum(dim, keepdim=True) / count
    least = (_ROUNDING * torch.finfo(values.dtype).eps * mean).square()
    varies = variance > least
    return mean, torch.where(varies, torch.where(varies, variance, 1.0).sqrt(), 0.0)

"""What ridge regression says, as a hint for networks that read: they need not learn again what has a closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quickstudy.models.readers.base import Learned

_STRENGTHS = (0.01, 0.1, 1.0)  # at first, of the mean squared length of an example


class RidgeHints(nn.Module):
    """Ridge regressions from embedded inputs to targets or one-hot labels, at several learned strengths.

    A support example is told what the regression on all the others says of it: leaving one out has a closed form,
    y_i − α_i / (K + λI)⁻¹_ii with α = (K + λI)⁻¹ y (Allen 1974; Hastie, Tibshirani & Friedman 2009, section 7.10).
    """

    count = len(_STRENGTHS)

    def __init__(self) -> None:
        super().__init__()
        self.change = Learned(self.count)

    def fit(self, z: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Hints (n, count · outputs) for the support, and the weights (count, D + 1, outputs).

        z (n, D), y (n, outputs), mask (n,).
        """
        with torch.autocast(z.device.type, enabled=False):  # linear systems lose too much in less than 32 bits
            return self._fit(z if z.dtype == torch.float64 else z.float(), y, mask)

    def _fit(self, z: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        z, y = self._with_one(z) * mask[:, None], y.to(z.dtype)
        gram, known = z @ z.T, mask.to(z.dtype)
        size = gram.diagonal().sum() / known.sum().clamp(min=1)
        strengths = self.change().exp() * z.new_tensor([math.log(s) for s in _STRENGTHS]).exp()
        hints, dual = left_out(gram, strengths * size + 1e-6, y)
        return by_row(hints) * known[:, None], z.T @ dual

    def forward(self, weights: Tensor, z: Tensor) -> Tensor:
        """Hints (m, count · outputs) for queries z (m, D)."""
        with torch.autocast(z.device.type, enabled=False):
            return by_row(self._with_one(z.to(weights.dtype)) @ weights)

    @staticmethod
    def _with_one(z: Tensor) -> Tensor:
        return torch.cat([z, torch.ones_like(z[:, :1])], dim=1)


def left_out(gram: Tensor, strengths: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """What regressions on all the others say of each example, and their dual weights, each (count, n, outputs).

    gram: (n, n), or (count, n, n), one for each of the strengths (count,). y (n, outputs), 0 for padding.
    """
    eye = torch.eye(len(y), dtype=y.dtype, device=y.device)
    inverse = torch.linalg.inv(gram + strengths[:, None, None] * eye)
    dual = inverse @ y
    return y - dual / inverse.diagonal(dim1=1, dim2=2)[..., None], dual


def by_row(hints: Tensor) -> Tensor:
    """(count, n, outputs) to (n, count · outputs)."""
    return hints.transpose(0, 1).flatten(1)

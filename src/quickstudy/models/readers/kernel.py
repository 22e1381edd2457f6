"""What kernel regression on the cells of tables says, as a hint for networks that read."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.models.readers.base import Learned
from quickstudy.models.readers.ridge import by_row, left_out

_WIDTHS, _STRENGTHS = (1.0, 3.0), (0.1, 0.1)  # at first: in mean distances, and beside a kernel of 1 at no distance
_CONSTANT = 10.0  # of a kernel that is the same everywhere: labels need not have the mean 0


class Kept(NamedTuple):
    """What queries are answered from. rows: (n, C, D). size: their mean distance. dual: weights (count, n, outputs)."""

    rows: Tensor
    size: Tensor
    dual: Tensor


class KernelHints(nn.Module):
    """Kernel ridge regressions with the kernel 10 + exp(−d / w), d the sum over columns of the distance of cells.

    It is Laplace's kernel, which treats every column by itself as trees do, where cells are numbers; of several widths
    and strengths, which are learned, and in units of the mean distance of two rows. A support example is told what the
    regression on all the others says of it, in closed form, see `RidgeHints`.
    """

    count = len(_WIDTHS)

    def __init__(self) -> None:
        super().__init__()
        self.change = Learned(2, self.count)

    def fit(self, z: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Kept]:
        """Hints (n, count · outputs) for the support, and what is kept of it.

        z (n, C, D), y (n, outputs), mask (n,).
        """
        with torch.autocast(z.device.type, enabled=False):  # linear systems lose too much in less than 32 bits
            z = z if z.dtype == torch.float64 else z.float()
            known, apart = mask.to(z.dtype), _distances(z, z)
            pairs = known[:, None] * known
            size = (apart * pairs).sum() / (known.sum() * (known.sum() - 1)).clamp(min=1) + 1e-6
            y = y.to(z.dtype) * known[:, None]
            hints, dual = left_out(self._kernels(apart, size) * pairs, self._strengths(z), y)
            return by_row(hints) * known[:, None], Kept(z, size, dual)

    def forward(self, kept: Kept, z: Tensor) -> Tensor:
        """Hints (m, count · outputs) for queries z (m, C, D)."""
        with torch.autocast(z.device.type, enabled=False):
            apart = _distances(z.to(kept.rows.dtype), kept.rows)
            return by_row(self._kernels(apart, kept.size) @ kept.dual)

    def _kernels(self, apart: Tensor, size: Tensor) -> Tensor:
        widths = self.change()[0].to(apart.dtype).exp() * apart.new_tensor(_WIDTHS)
        kernels: Tensor = (-apart / (widths[:, None, None] * size)).exp() + _CONSTANT
        return kernels

    def _strengths(self, like: Tensor) -> Tensor:
        strengths: Tensor = self.change()[1].to(like.dtype).exp() * like.new_tensor(_STRENGTHS)
        return strengths


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """The sum over columns of the distance of cells (m, C, D) and (n, C, D): (m, n)."""
    exact = "donot_use_mm_for_euclid_dist"
    apart: Tensor = torch.cdist(one.transpose(0, 1), other.transpose(0, 1), compute_mode=exact).sum(0)
    return apart

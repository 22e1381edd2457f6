"""Intersection over union: how far what is said of pixels overlaps with what is so."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.masked import masked_mean


class Overlap(NamedTuple):
    """Of each of N classes how many pixels are both said to be of it and are, and how many are either, both (N,)."""

    both: Tensor
    either: Tensor

    @classmethod
    def of(cls, said: Tensor, true: Tensor, dtype: torch.dtype) -> Overlap:
        """Of pixels (…, N) bool, which are of a class each or of none; counts are of `dtype`, or float32."""
        dtype, axes = torch.promote_types(dtype, torch.float32), tuple(range(said.dim() - 1))
        return cls((said & true).sum(axes).to(dtype), (said | true).sum(axes).to(dtype))

    @property
    def each(self) -> Tensor:
        """The ratio of each class (N,), NaN where it is nowhere."""
        return torch.where(self.either > 0, self.both / self.either.clamp(min=1), torch.nan)

    def mean(self, first: int = 0) -> Tensor:
        """The mean ratio of the classes from `first` on that are anywhere; 1 where none is."""
        both, either = self.both[first:], self.either[first:]
        there = either > 0
        return torch.where(there.any(), masked_mean(both / either.clamp(min=1), there), 1.0)

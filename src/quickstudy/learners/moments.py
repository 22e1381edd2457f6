"""Moments of what enters normalisation layers, for population statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import Params


class Moments:
    """Running count, sum and sum of squares per channel of the inputs of some layers."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[int, Tensor, Tensor]] = {}

    def add(self, path: str, x: Tensor) -> None:
        """x: (n, C, *space)."""
        values = x.transpose(0, 1).flatten(1).to(torch.float32 if x.device.type == "mps" else torch.float64)
        seen = Moments()
        seen._sums[path] = (values.shape[1], values.sum(1), values.square().sum(1))
        self.merge(seen)

    def merge(self, other: Moments) -> None:
        for path, (count, first, second) in other._sums.items():
            mine = self._sums.get(path)
            self._sums[path] = (
                (count, first, second) if mine is None else (mine[0] + count, mine[1] + first, mine[2] + second)
            )

    def statistics(self, dtype: torch.dtype) -> Params:
        """'<path>.mean' and '<path>.variance', (C,) each."""
        statistics: Params = {}
        for path, (count, first, second) in self._sums.items():
            mean = first / count
            statistics[f"{path}.mean"] = mean.to(dtype)
            statistics[f"{path}.variance"] = (second / count - mean.square()).clamp(min=0).to(dtype)
        return statistics

"""A mean over tasks and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """mean: over `count` tasks. ci95: half-width of its 95 % confidence interval; NaN for a single task."""

    mean: float
    ci95: float
    count: int | None = None

    @classmethod
    def of(cls, values: Tensor) -> Estimate:
        """The estimate from one value of each task, (n,)."""
        return cls(*confidence(values), len(values))

    @classmethod
    def together(cls, parts: Sequence[Estimate]) -> Estimate:
        """The mean of estimates from tasks apart, each of which counts alike: its variance is Σ σ² / n²."""
        half = math.sqrt(sum(part.ci95**2 for part in parts)) / len(parts)
        return cls(sum(part.mean for part in parts) / len(parts), half, sum(part.count or 0 for part in parts))

    def __str__(self) -> str:
        digits = max(2, 1 - math.floor(math.log10(self.ci95))) if 0 < self.ci95 < math.inf else 3
        return f"{self.mean:.{digits}f} ± {self.ci95:.{digits}f}"


def confidence(values: Tensor) -> tuple[float, float]:
    """Mean of values (n,) and half-width of its 95 % confidence interval, 1.96 standard errors."""
    values = values.double()
    half = 1.96 * float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return float(values.mean()), half

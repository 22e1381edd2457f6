"""A mean over tasks and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """mean: over `count` tasks, or draws of them. ci95: half-width of its 95 % confidence interval; NaN for one."""

    mean: float
    ci95: float
    count: int | None = None

    @classmethod
    def of(cls, values: Tensor) -> Estimate:
        """The estimate from one value of each task, (n,)."""
        return cls(*confidence(values), len(values))

    @classmethod
    def of_draws(cls, values: Tensor, comparisons: int = 1) -> Estimate:
        """The estimate from one value of each of a few independent draws, (n,): the interval is Student's.

        comparisons: how many such means are looked at together. Their intervals are then as wide as makes all of them
        cover at once with 95 %, however they depend on each other (Bonferroni; Dunn 1961).
        """
        values, count = values.double(), len(values)
        half = (
            student(0.05 / comparisons, count - 1) * float(values.std()) / math.sqrt(count) if count > 1 else math.nan
        )
        return cls(float(values.mean()), half, count)

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


def wilson(right: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `right` of `count` were found, inside [0, 1] (Wilson 1927).

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    if not count:
        return 0.0, 1.0
    share, z = right / count, 1.959963984540054
    centre = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    whole = 1 + z * z / count
    return max(0.0, min(share, (centre - half) / whole)), min(1.0, max(share, (centre + half) / whole))  # but rounding


def jackknifed(value: float, without: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of any figure of examples, from the same `without` each of G groups of them (Quenouille 1949;
    Tukey 1958): its variance is (G − 1) / G Σ (θ₋g − mean)², and the interval Student's. Infinite where G < 2."""
    groups = len(without)
    if groups < 2:
        return -math.inf, math.inf
    mean = sum(without) / groups
    half = student(0.05, groups - 1) * math.sqrt((groups - 1) / groups * sum((one - mean) ** 2 for one in without))
    return value - half, value + half


def student(tail: float, freedom: int) -> float:
    """The t > 0 that Student's distribution exceeds in size with the probability `tail`, in (0, 1).

    freedom: its degrees, 1 or more. Bisection over θ of the finite series in t = √freedom · tan θ (Abramowitz & Stegun
    1964, 26.7.3 and 26.7.4).

    >>> [round(student(0.05, count), 3) for count in (1, 2, 7)]
    [12.706, 4.303, 2.365]
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        odd = freedom % 2
        term, total = math.cos(angle) if odd else 1.0, 0.0
        for power in range(odd, freedom - 1, 2):
            total += term
            term *= (power + 1) / (power + 2) * math.cos(angle) ** 2
        inside = math.sin(angle) * total
        inside = 2 / math.pi * (angle + inside) if odd else inside
        low, high = (angle, high) if 1 - inside > tail else (low, angle)
    return math.sqrt(freedom) * math.tan(low)

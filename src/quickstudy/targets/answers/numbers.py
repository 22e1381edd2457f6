"""Numbers in the user's units, with spreads and intervals where they are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy.targets.answers.base import Answer
from quickstudy.targets.reported import Covered

_LEVELS = (0.5, 0.9, 0.95)  # of the intervals that a spread stands for


@dataclass(frozen=True)
class NumberAnswer(Answer):
    """Numbers in the user's units. values: (n, *shape). spread: standard deviations, None where they are not known.

    Each item is a value, or (value, spread) where spreads are known; numbers, or lists where there are several.
    low, high: (n, *shape), the ends of intervals that hold the truth with the probability `level`, all numbers of one
    label together; None where no coverage was asked for.
    """

    values: Tensor
    spread: Tensor | None = None
    units: str = ""
    low: Tensor | None = None
    high: Tensor | None = None
    level: float | None = None

    def between(self, half: Tensor, level: float) -> NumberAnswer:
        values = self.values.double()
        half = half.double()
        return replace(self, low=values - half, high=values + half, level=level)

    @property
    def prediction(self) -> Tensor:
        return self.values

    def covered(self, y: Tensor) -> list[Covered]:
        """The intervals that were asked for, or else the central ones of normal distributions; of several numbers a
        label counts as inside where all are."""
        if self.low is not None and self.high is not None and self.level is not None:
            inside = ((self.low <= y) & (y <= self.high)).unsqueeze(-1).flatten(1).all(1)
            width = (self.high - self.low).unsqueeze(-1).flatten(1).mean(1)
            return [Covered("intervals", self.level, inside, width)]
        if self.spread is None:
            return []
        away = ((y - self.values) / self.spread).abs().unsqueeze(-1).flatten(1).amax(1)
        spread = self.spread.unsqueeze(-1).flatten(1).mean(1)
        count = max(1, self.values[:1].numel())
        found = []
        for level in _LEVELS:  # of a box of independent sides, which holds all numbers of a label as often
            half = float(torch.special.ndtri(torch.tensor(0.5 + level ** (1 / count) / 2, dtype=torch.float64)))
            found.append(Covered("intervals", level, away <= half, 2 * half * spread))
        return found

    def told(self, index: int) -> str:
        values = [f"{number:.3g}" for number in self.values[index].flatten().tolist()]
        if self.spread is not None:
            sure = self.spread[index].flatten().tolist()
            values = [f"{value} ± {half:.2g}" for value, half in zip(values, sure, strict=True)]
        if self.low is not None and self.high is not None:
            ends = zip(self.low[index].flatten().tolist(), self.high[index].flatten().tolist(), strict=True)
            values = [f"{value} ({low:.3g} to {high:.3g})" for value, (low, high) in zip(values, ends, strict=True)]
        return ", ".join(values)

    @property
    def columns(self) -> tuple[str, ...]:
        count = self.values[:1].numel() if len(self) else 1
        unit = f" ({self.units})" if self.units else ""
        values = [f"value{unit}"] if count == 1 else [f"value {i + 1}{unit}" for i in range(count)]
        further = [("spread", self.spread), ("low", self.low), ("high", self.high)]
        return (*values, *(v.replace("value", name, 1) for name, part in further if part is not None for v in values))

    def row(self, index: int) -> tuple[Any, ...]:
        parts = [part for part in (self.values, self.spread, self.low, self.high) if part is not None]
        return tuple(number for part in parts for number in part[index].flatten().tolist())

    def _said(self, index: int) -> list[float]:
        parts = [part for part in (self.values, self.spread) if part is not None]
        return [number for part in parts for number in part[index].flatten().tolist()]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        one = self.values[index]
        value = one.item() if one.numel() == 1 else one.tolist()
        if self.spread is None:
            return value
        sure = self.spread[index]
        return value, sure.item() if sure.numel() == 1 else sure.tolist()

    def __repr__(self) -> str:
        shown = ", ".join(" ± ".join(f"{number:.4g}" for number in self._said(i)) for i in range(min(4, len(self))))
        return f"NumberAnswer({shown}{', …' if len(self) > 4 else ''})"

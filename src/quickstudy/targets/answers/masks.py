"""The class of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.targets.answers.base import Answer
from quickstudy.targets.maps import BACKGROUND


@dataclass(frozen=True)
class MaskAnswer(Answer):
    """The class of every pixel. classes: all names (N). probabilities: (n, N, height, width).

    Each item is a mask (height, width) uint8, of numbers in `classes`. The table says which share of an image each
    class has, and how much of it is in doubt.
    """

    classes: tuple[str, ...]
    probabilities: Tensor

    @property
    def masks(self) -> Tensor:
        """The number of the likeliest class of each pixel, (n, height, width) uint8."""
        return self.probabilities.argmax(dim=1).to(torch.uint8)

    @property
    def doubt(self) -> Tensor:
        """The probability that a pixel is of another class than is said, (n, height, width)."""
        return 1 - self.probabilities.amax(dim=1)

    @property
    def maps(self) -> Tensor:
        return self.probabilities

    @property
    def prediction(self) -> Tensor:
        return self.probabilities.clamp(min=torch.finfo(self.probabilities.dtype).tiny).log()

    @property
    def columns(self) -> tuple[str, ...]:
        return *(f"share of {name}" for name in self.classes), "doubt"

    def row(self, index: int) -> tuple[float, ...]:
        return *self._shares(index), float(self.doubt[index].mean())

    def _shares(self, index: int) -> list[float]:
        mask = self.masks[index]
        return [float((mask == i).float().mean()) for i in range(len(self.classes))]

    def told(self, index: int) -> str:
        return told_shares(self._shares(index), self.classes)

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> Tensor:
        return self.masks[index]

    def __repr__(self) -> str:
        return f"MaskAnswer({len(self)} masks of {', '.join(self.classes)})"


def told_shares(shares: Sequence[float], names: Sequence[str]) -> str:
    """'cat 23 %, dog 4 %': what an image shows, the background left out unless it is all."""
    there = [(name, share) for name, share in zip(names, shares, strict=True) if share > 0 and name != BACKGROUND]
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in there) or f"nothing but {BACKGROUND}"

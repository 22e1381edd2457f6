"""Transcripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from quickstudy.targets.answers.base import Answer


@dataclass(frozen=True)
class TextAnswer(Answer):
    """Transcripts, each with the probability that the network gives it. Each item is (text, probability).

    prediction: logits (n, positions, 1 + tokens) that they were read from.
    """

    texts: tuple[str, ...]
    probabilities: Tensor
    logits: Tensor

    @property
    def prediction(self) -> Tensor:
        return self.logits

    @property
    def columns(self) -> tuple[str, ...]:
        return "text", "probability"

    def row(self, index: int) -> tuple[Any, ...]:
        return self[index]

    def told(self, index: int) -> str:
        text, probability = self[index]
        return f"{text or 'nothing'} ({100 * probability:.0f} %)"

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, float]:
        return self.texts[index], float(self.probabilities[index])

    def __repr__(self) -> str:
        return f"TextAnswer({', '.join(self.texts[:4])}{', …' if len(self) > 4 else ''})"

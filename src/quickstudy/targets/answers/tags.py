"""Several names at once, with a probability each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from quickstudy.targets.answers.base import Answer


@dataclass(frozen=True)
class TagAnswer(Answer):
    """Tags with a probability each. tags: all names (N). probabilities, logits: (n, N).

    Each item is a list of (name, probability), of those that are likelier than not.
    """

    tags: tuple[str, ...]
    probabilities: Tensor
    logits: Tensor

    @property
    def prediction(self) -> Tensor:
        return self.logits

    @property
    def columns(self) -> tuple[str, ...]:
        return "tags", *(f"p({name})" for name in self.tags)

    def row(self, index: int) -> tuple[Any, ...]:
        return "; ".join(name for name, _ in self[index]), *self.probabilities[index].tolist()

    def told(self, index: int) -> str:
        return ", ".join(f"{name} ({100 * probability:.0f} %)" for name, probability in self[index]) or "no tag"

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> list[tuple[str, float]]:
        each = zip(self.tags, self.probabilities[index].tolist(), strict=True)
        return [(name, probability) for name, probability in each if probability > 0.5]

    def __repr__(self) -> str:
        shown = ", ".join(self.row(i)[0] or "no tag" for i in range(min(4, len(self))))
        return f"TagAnswer({shown}{', …' if len(self) > 4 else ''})"

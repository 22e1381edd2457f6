"""What is heard of a model that is asked for some of its task's inputs, as its trust has it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from quickstudy.episode import Features
from quickstudy.targets.distribution import Distribution


class Asked(Protocol):
    """Whoever computes raw predictions for features (m, …) of one task."""

    def said(self, x: Features) -> Distribution:
        """With a spread, where one is known."""
        ...

    def embedded(self, x: Features) -> tuple[Tensor, Features]:
        """With embeddings as the learner compares them, or x where it embeds nothing."""
        ...


class Heard(NamedTuple):
    """said: of m inputs, in probabilities that are as right as they say. raw: the logits before that was so; None where
    nothing was changed. known, accepted, inside: as in `Judged`; None where answers are no classes of whole inputs."""

    said: Distribution
    raw: Tensor | None = None
    known: Tensor | None = None
    accepted: Tensor | None = None
    inside: Tensor | None = None

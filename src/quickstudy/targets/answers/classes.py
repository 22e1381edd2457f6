"""Names with probabilities, and how far they can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.reported import Covered

NONE = "none of these"
"""What is said of an input that is taken to be of no class."""


@dataclass(frozen=True)
class ClassAnswer(Answer):
    """Names with probabilities. classes: all names (N). probabilities: (n, N). Each item is (name, probability).

    known: (n,) the probability that an input is of one of the classes at all, where half of all inputs are. accepted:
    (n,) bool, False for inputs that are taken to be of none, at the rate of false alarms that was asked for. inside:
    (n, N) bool, the set of classes that holds the right one with the coverage that was asked for. Each is None where
    nothing tells it, or where it was not asked for. coverage: that of the sets.
    """

    classes: tuple[str, ...]
    probabilities: Tensor
    known: Tensor | None = None
    accepted: Tensor | None = None
    inside: Tensor | None = None
    coverage: float | None = None

    @property
    def names(self) -> list[str]:
        """The likeliest name of each input."""
        return [self.classes[i] for i in self.probabilities.argmax(dim=1).tolist()]

    @property
    def prediction(self) -> Tensor:
        return self.probabilities.clamp(min=torch.finfo(self.probabilities.dtype).tiny).log()

    @property
    def sets(self) -> list[tuple[str, ...]]:
        """The classes of the set of each input, the likeliest first; ConfigError where no coverage was asked for."""
        if self.inside is None:
            raise ConfigError("There are no sets: ask for a coverage, as by model.predict(records, coverage=0.95).")
        order = self.probabilities.argsort(dim=1, descending=True).tolist()
        return [tuple(self.classes[i] for i in row if one[i]) for row, one in zip(order, self.inside, strict=True)]

    @property
    def refused(self) -> Tensor | None:
        return None if self.accepted is None else ~self.accepted

    def covered(self, y: Tensor) -> list[Covered]:
        """The sets, where a coverage was asked for."""
        if self.inside is None or self.coverage is None:
            return []
        return [Covered("sets", self.coverage, self.inside.gather(1, y[:, None])[:, 0], self.inside.sum(1))]

    def believed(
        self, known: Tensor | None, accepted: Tensor | None, inside: Tensor | None, coverage: float | None = None
    ) -> ClassAnswer:
        known, accepted, inside = (None if part is None else part.cpu() for part in (known, accepted, inside))
        return ClassAnswer(self.classes, self.probabilities, known, accepted, inside, coverage)

    def told(self, index: int) -> str:
        name, probability = self[index]
        if self.accepted is not None and not self.accepted[index]:
            return NONE
        if self.inside is None:
            return f"{name} ({100 * probability:.0f} %)"
        others = [one for one in self.sets[index] if one != name]
        return f"{name} ({100 * probability:.0f} %){''.join(f', or {one}' for one in others)}"

    @property
    def columns(self) -> tuple[str, ...]:
        believed = [("known", self.known), ("accepted", self.accepted), ("set", self.inside)]
        further = (name for name, part in believed if part is not None)
        return "class", "probability", *further, *(f"p({name})" for name in self.classes)

    def row(self, index: int) -> tuple[Any, ...]:
        further: list[Any] = [] if self.known is None else [float(self.known[index])]
        further += [] if self.accepted is None else ["yes" if self.accepted[index] else "no"]
        further += [] if self.inside is None else ["; ".join(self.sets[index])]
        return *self[index], *further, *self.probabilities[index].tolist()

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> tuple[str, float]:
        one = self.probabilities[index]
        best = int(one.argmax())
        return self.classes[best], float(one[best])

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {probability:.2f}" for name, probability in list(self)[:4])
        return f"ClassAnswer({shown}{', …' if len(self) > 4 else ''})"

"""How a target, its labels and its answers are told to people: the first part of the contract of a target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.units import Units


class Shown(ABC):
    """What everyone sees of a target: words, and answers. Shapes are those of `Target`."""

    guess: ClassVar[str] = "guessing"
    """What `baseline` is called, in tables and charts."""

    @property
    def units(self) -> str:
        """Of the label, for people; '' where it has none."""
        return ""

    @abstractmethod
    def __str__(self) -> str:
        """What it is, in a sentence: '5 classes', '2 numbers'."""

    def learned(self, examples: str) -> str:
        """That a model of it has learned from so many examples, as a sentence begins.

        >>> import quickstudy as qs
        >>> qs.targets.Numbers(units="m").learned("7 rows")
        'Learned from 7 rows to tell a number (m)'
        """
        return f"Learned {self} from {examples}"

    def chosen(self, prediction: Tensor) -> Tensor | None:
        """Which class each prediction names, (n,) int64, where labels are ids of classes; None where they are not."""
        return None

    def painted(self, prediction: Tensor) -> Tensor | None:
        """Which class each pixel is said to be of, (n, height, width) int64, where answers are masks; else None."""
        return None

    def doubted(self, prediction: Tensor) -> Tensor | None:
        """The probability that each pixel is of another class than is said, (n, height, width); None as `painted`."""
        return None

    def plotted(self, values: Tensor) -> Tensor | None:
        """Labels, or what is said of them, as one number each, (n,), to be drawn over an axis; None if they are not."""
        return None

    def told(self, y: Tensor, names: Sequence[str]) -> list[str]:
        """Labels y (n, *shape) as people read them. names: of the classes, where there are any."""
        return [str(one) for one in y.tolist()]

    @abstractmethod
    def answer(self, said: Distribution, names: Sequence[str], units: Units | None = None) -> Answer:
        """What a prediction says in the user's own names and units. units: of its numbers, if not the user's own."""

    @abstractmethod
    def lead(self, given: str, example: str, whole: str, each: bool) -> str:
        """What a network does, in a sentence for the top of a page.

        given: the examples that it was shown, as '5 rows'. example: one of them, as 'row'. whole: what they are
        examples of, as 'table'. each: whether it was given so many of every class.
        """

    def said(self, said: Distribution, units: Units | None = None) -> dict[str, Tensor]:
        """What an exported graph gives of predictions, by name, in the user's units; see docs/export.md.

        'logits' are what was predicted, 'probabilities' of the names; 'mean' and 'spread' of numbers. ConfigError where
        an answer is more than such tensors.
        """
        raise ConfigError(
            f"Answers that are {self} are not exported: they are made of what a graph says by code. Save the model, "
            "and load it where quickstudy is: quickstudy.load(folder)."
        )

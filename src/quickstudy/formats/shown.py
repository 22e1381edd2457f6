"""What features are, and how examples are called and shown to people: the first part of the contract of a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from quickstudy.episode import Features
from quickstudy.formats.drawing import Drawing


class Leaf(NamedTuple):
    """One tensor of the features: the shape of one example, and its type. below: whole numbers lie in [0, below)."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    below: int | None = None


class Axis(NamedTuple):
    """Where the examples of one task lie on an axis. title: of the axis. support: (n,). query: (m,).

    note: what a reader must know of the queries, as a sentence.
    """

    title: str
    support: Tensor
    query: Tensor
    note: str = ""


class Shown(ABC):
    """What of a format everyone sees: the shapes of features, words, and pictures."""

    what: ClassVar[str] = "inputs"
    """What records are called, for people."""

    @property
    @abstractmethod
    def layout(self) -> Mapping[str, Leaf]:
        """The tensors that features consist of: one is given to a network as it is, several by their names."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example where features are one tensor; () where they are several."""
        return next(iter(self.layout.values())).shape if len(self.layout) == 1 else ()

    def __str__(self) -> str:
        """What it is, in a sentence: 'images of 28 x 28 pixels'."""
        return f"{self.what} of the shape {self.input_shape}" if self.input_shape else self.what

    @property
    def example(self) -> str:
        """What one record is called in a sentence: 'row', with an s for several."""
        return "example"

    @property
    def shot(self) -> str:
        """What one shot is called, where it is several examples: an episode of steps."""
        return self.example

    @property
    def whole(self) -> str:
        """What the records of one task belong to: 'table'."""
        return "task"

    def draw(self, x: Features) -> Drawing | None:
        """One example, without an axis of examples, as a picture, curve, row or text; None if there is none."""
        return None

    def coordinates(self, x: Features) -> Tensor | None:
        """Examples as points on a line (n, 1) or in a plane (n, 2), where that is what they are."""
        return None

    def from_coordinates(self, points: Tensor) -> Features:
        """The inverse of `coordinates`."""
        return points

    @property
    def directions(self) -> tuple[str, ...]:
        """What the directions of `coordinates` are called."""
        return ("x",) if self.input_shape == (1,) else ("feature 1", "feature 2")

    def axis(self, support: Features, query: Features) -> Axis | None:
        """Where the examples of one task lie on a line, if they do: by their coordinate, or one after another."""
        known, asked = self.coordinates(support), self.coordinates(query)
        if known is None or asked is None or known.shape[1] != 1:
            return None
        return Axis(self.directions[0], known[:, 0], asked[:, 0], "The given dots are all that it was shown.")

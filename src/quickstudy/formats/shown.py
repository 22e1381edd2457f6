"""How the examples of a format are called and shown to people."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor

from quickstudy.episode import Features
from quickstudy.formats.drawing import Drawing
from quickstudy.formats.layout import LaidOut


class Axis(NamedTuple):
    """Where the examples of one task lie on an axis. title: of the axis. support: (n,). query: (m,).

    note: what a reader must know of the queries, as a sentence.
    """

    title: str
    support: Tensor
    query: Tensor
    note: str = ""


class Shown(LaidOut):
    """What of a format everyone sees: words, and pictures."""

    what: ClassVar[str] = "inputs"
    """What records are called, for people."""

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

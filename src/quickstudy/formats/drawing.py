"""A record as people see it, whatever page it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

_MOST = 6  # cells of a row that are shown


class Drawing:
    """One of the kinds below, or one of your own, registered with `quickstudy.pages.pictures.rendered`.

    small: whether several stand side by side in a line of text.
    """

    small: ClassVar[bool] = False


@dataclass(frozen=True)
class Picture(Drawing):
    """pixels: (C, H, W) uint8, grey or RGB."""

    small = True
    pixels: Tensor


@dataclass(frozen=True)
class Curve(Drawing):
    """values: at equal distances, from left to right."""

    small = True
    values: Sequence[float]


@dataclass(frozen=True)
class Row(Drawing):
    """cells: (name, value) of one line of a table; names may be ''."""

    cells: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text(Drawing):
    """text: as it was written."""

    text: str


@dataclass(frozen=True)
class Film(Drawing):
    """An animated picture. gif: its bytes. of: what stands side by side. steps: that there were, of which it shows the
    first `shown`."""

    gif: bytes
    of: tuple[str, ...]
    steps: int
    shown: int


def row(names: Sequence[str], values: Sequence[float]) -> Row:
    """The first few of these numbers, with their names; the rest is a dotted cell."""
    return told([(name, f"{value + 0.0:.3g}") for name, value in zip(names, values, strict=False)])  # + 0.0: never -0


def told(cells: Sequence[tuple[str, str]]) -> Row:
    """The first few of these cells; the rest is a dotted one."""
    return Row([*cells[:_MOST], *([("", "…")] if len(cells) > _MOST else [])])

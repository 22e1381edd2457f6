"""A record as people see it, whatever page it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


class Drawing:
    """One of the kinds below. `quickstudy.pages.pictures` puts it into a page."""


@dataclass(frozen=True)
class Picture(Drawing):
    """pixels: (C, H, W) uint8, grey or RGB."""

    pixels: Tensor


@dataclass(frozen=True)
class Curve(Drawing):
    """values: at equal distances, from left to right."""

    values: Sequence[float]


@dataclass(frozen=True)
class Row(Drawing):
    """cells: (name, value) of one line of a table; names may be ''."""

    cells: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text(Drawing):
    """text: as it was written."""

    text: str

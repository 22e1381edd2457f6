"""Drawings: lines of any colour on paper of any colour, wherever on the canvas, as ink 1 on 0 that fills the square."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Features
from quickstudy.errors import ConfigError, first_of
from quickstudy.formats.base import Format
from quickstudy.formats.decoding import Decoded, File, decode, fit
from quickstudy.formats.image import Image
from quickstudy.formats.records import Broken, Stored
from quickstudy.registry import formats

_FINE = 4  # times `size`: to so many pixels canvases are reduced at most, so that what is small on them keeps its lines
_FAINT = 24  # of 255: what differs by less from the paper is no ink
_SHARE = 0.3  # of the strongest ink: what is fainter, such as noise of JPEG, does not say where the drawing ends
_MARGIN = 0.12  # of the drawing's longer side, left free on each of its sides


@formats.register("ink")
@dataclass(frozen=True, kw_only=True)
class Ink(Image):
    """Drawings (n, 1, size, size) in [0, 1], ink 1 on paper 0, cut to what is drawn.

    The grey of most of a canvas's border is its paper; what differs from it is ink, dark on light and light on dark
    alike. The square around the ink is brought to `size`, and its strongest ink to 1: where on the canvas something is
    drawn, how large and how faint, says nothing. Arrays of `size` already are not cut, but are turned to ink on dark.
    size: of a side, in pixels. background: what transparent images are laid over, if something is seen on it.
    """

    size: int = 28
    channels: Literal[1, 3] = 1
    invert: bool = True

    what = "drawings"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels != 1 or not self.invert:
            raise ConfigError("Ink is grey, 1 on 0. Leave channels and invert out, or choose the format 'image'.")

    def __str__(self) -> str:
        return f"drawings of {self.size} x {self.size} pixels"

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        stored = super().store(records, broken)
        assert isinstance(stored.x, Tensor)
        return stored._replace(x=on_dark(stored.x))

    def _decoded(self, file: File) -> tuple[Tensor, Decoded]:
        other: Literal["white", "black"] = "black" if self.background == "white" else "white"
        for background in (self.background, other):
            image = decode(file, 1, side=self.size * _FINE, background=background)
            drawn = inked(image.pixels, self.size)
            if bool(drawn.any()):
                break
        return 255 - drawn, image._replace(pixels=image.pixels[:, :0, :0])

    def _notices(
        self, modes: Counter[str], sizes: Counter[tuple[int, int]], skipped: list[str], blank: list[str]
    ) -> list[str]:
        """Every canvas is grey and cut, so that nothing need be said of that."""
        notices = [f"{len(blank)} drawings are blank: {first_of(blank)}."] if blank else []
        return notices + ([f"{len(skipped)} unreadable images left out: {' '.join(skipped)}"] if skipped else [])

    def brought(self, stored: Features, other: Format) -> Features:
        """Pixels of images that are stored are cut to what is drawn on them, each for itself."""
        if not isinstance(other, Image) or isinstance(other, Ink):
            return super().brought(stored, other)
        assert isinstance(stored, Tensor)
        grey = Image(size=other.size, channels=1).brought(stored, other)
        assert isinstance(grey, Tensor)
        if grey.dtype != torch.uint8:
            grey = (grey * 255).round().to(torch.uint8)
        return (
            torch.stack([inked(pixels, self.size) for pixels in grey])
            if len(grey)
            else grey.new_zeros((0, 1, self.size, self.size))
        )

    @property
    def example(self) -> str:
        return "drawing"


def inked(pixels: Tensor, size: int) -> Tensor:
    """A grey canvas (1, H, W) uint8 as ink (1, size, size) uint8, 255 on 0, cut to what is drawn; 0 where nothing is.

    The median of the border is the paper.
    """
    plane = pixels[0].to(torch.int16)
    ink = (plane - _paper(plane)).abs()
    strongest = int(ink.max())
    if strongest < _FAINT:
        return pixels.new_zeros((1, size, size))
    ink = ink.where(ink * 4 >= _FAINT, 0)
    rows, columns = ((ink > _SHARE * strongest).any(axis).nonzero().flatten() for axis in (1, 0))
    (top, bottom), (left, right) = ((int(one[0]), int(one[-1]) + 1) for one in (rows, columns))
    side = max(bottom - top, right - left)
    side += 2 * max(1, round(_MARGIN * side))
    up, back = (top + bottom - side) // 2, (left + right - side) // 2
    height, width = ink.shape
    square = F.pad(ink, (-back, back + side - width, -up, up + side - height))  # what is negative is cut off
    small = fit(square.to(torch.uint8)[None], size).float()
    return (small * (255 / small.max().clamp(min=1))).round().to(torch.uint8)


def _paper(plane: Tensor) -> Tensor:
    """The median of the border of a canvas (H, W)."""
    return torch.cat([plane[0], plane[-1], plane[:, 0], plane[:, -1]]).median()


def on_dark(x: Tensor) -> Tensor:
    """Drawings (n, 1, S, S), each with its paper dark: inverted where most of its border is light. uint8, or [0, 1]."""
    if not len(x):
        return x
    white = 255 if x.dtype == torch.uint8 else 1
    edges = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], dim=-1)
    light = edges.flatten(1).median(dim=1).values > white / 2
    return torch.where(light[:, None, None, None], white - x, x)

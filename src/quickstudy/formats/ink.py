"""Drawings: lines of any colour on paper of any colour, wherever on the canvas, as ink 1 on 0 that fills the square."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError, first_of
from quickstudy.formats.base import Format
from quickstudy.formats.decoding import Decoded, File, decode, fit
from quickstudy.formats.image import Image
from quickstudy.registry import formats

_FINE = 4  # times `size`: to so many pixels canvases are reduced at most, so that what is small on them keeps its lines
_FAINT = 24  # of 255: what differs by less from the paper is no ink
_SHARE = 0.3  # of the strongest ink: what is fainter, such as noise of JPEG, does not say where the drawing ends
_SLACK = 2  # pixels: an array whose square is that much smaller than the array is not cut yet
_MARGIN = 0.12  # of the drawing's longer side, left free on each of its sides


@formats.register("ink")
@dataclass(frozen=True, kw_only=True)
class Ink(Image):
    """Drawings (n, 1, size, size) in [0, 1], ink 1 on paper 0, cut to what is drawn.

    The grey of most of a canvas's border is its paper; what differs from it is ink, dark on light and light on dark
    alike. The square around the ink is brought to `size`, and its strongest ink to 1: where on the canvas something is
    drawn, how large and how faint, says nothing. Arrays are cut alike, but where their ink fills `size` already: these
    are only turned to ink on dark.
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

    def _of_array(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[1] != 1:
            return x
        pixels = x if x.dtype == torch.uint8 else (x * 255).round().clamp(0, 255).to(torch.uint8)
        if x.shape[2:] != (self.size, self.size):
            return self._all_inked(pixels)
        filled = on_dark(x)
        loose = torch.tensor([_square(_ink(one))[2] < self.size - _SLACK for one in pixels], dtype=torch.bool)
        if bool(loose.any()):
            filled = filled.clone()
            cut = self._all_inked(pixels[loose])
            filled[loose] = cut if x.dtype == torch.uint8 else cut.to(x) / 255
        return filled

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

    def reading(self, fitted: State) -> dict[str, Any]:
        how = {"fine": _FINE, "faint": _FAINT, "share": _SHARE, "slack": _SLACK, "margin": _MARGIN}
        return super().reading(fitted) | {"ink": how}

    def brought(self, stored: Features, other: Format) -> Features:
        """Pixels of images that are stored are cut to what is drawn on them, each for itself."""
        if not isinstance(other, Image) or isinstance(other, Ink):
            return super().brought(stored, other)
        assert isinstance(stored, Tensor)
        grey = Image(size=other.size, channels=1).brought(stored, other)
        assert isinstance(grey, Tensor)
        if grey.dtype != torch.uint8:
            grey = (grey * 255).round().to(torch.uint8)
        return self._all_inked(grey)

    def _all_inked(self, pixels: Tensor) -> Tensor:
        """Canvases (n, 1, H, W) uint8, each cut for itself."""
        done = pixels.new_zeros((len(pixels), 1, self.size, self.size))
        for place, one in zip(done, pixels, strict=True):
            place.copy_(inked(one, self.size))
        return done

    @property
    def example(self) -> str:
        return "drawing"


def inked(pixels: Tensor, size: int) -> Tensor:
    """A grey canvas (1, H, W) uint8 as ink (1, size, size) uint8, 255 on 0, cut to what is drawn; 0 where nothing is.

    The median of the border is the paper.
    """
    ink = _ink(pixels)
    if int(ink.max()) < _FAINT:
        return pixels.new_zeros((1, size, size))
    ink = ink.where(ink * 4 >= _FAINT, 0)
    up, back, side = _square(ink)
    height, width = ink.shape
    square = F.pad(ink, (-back, back + side - width, -up, up + side - height))  # what is negative is cut off
    small = fit(square.to(torch.uint8)[None], size).float()
    return (small * 255 / small.max().clamp(min=1)).round().to(torch.uint8)


def _ink(pixels: Tensor) -> Tensor:
    """How far each pixel of a canvas (1, H, W) is from its paper: (H, W) int16."""
    plane = pixels[0].to(torch.int16)
    return (plane - _paper(plane)).abs()


def _square(ink: Tensor) -> tuple[int, int, int]:
    """The square around ink (H, W), with its margin: top, left and side. Where there is none, all of it."""
    strongest = int(ink.max())
    if strongest < _FAINT:
        return 0, 0, max(ink.shape)
    rows, columns = ((ink > _SHARE * strongest).any(axis).nonzero().flatten() for axis in (1, 0))
    (top, bottom), (left, right) = ((int(one[0]), int(one[-1]) + 1) for one in (rows, columns))
    side = max(bottom - top, right - left)
    side += 2 * max(1, round(_MARGIN * side))
    return (top + bottom - side) // 2, (left + right - side) // 2, side


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

"""Drawings: lines of any colour on paper of any colour, wherever on the canvas, as ink 1 on 0 that fills the square."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError, first_of
from quickstudy.formats.base import Format
from quickstudy.formats.decoding import Decoded, File, decode, fit
from quickstudy.formats.image import Image
from quickstudy.registry import formats

Array = NDArray[Any]

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
        loose = torch.from_numpy(_squares(_ink(pixels[:, 0].numpy()))[:, 2] < self.size - _SLACK)
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
    ink = _ink(pixels.numpy())
    if int(ink.max()) < _FAINT:
        return pixels.new_zeros((1, size, size))
    ink = np.where(ink * 4 >= _FAINT, ink, 0)
    up, back, side = map(int, _squares(ink)[0])
    height, width = ink.shape[1:]
    square = np.zeros((1, side, side), np.uint8)
    top, left, low, right = max(up, 0), max(back, 0), min(up + side, height), min(back + side, width)
    square[:, top - up : low - up, left - back : right - back] = ink[:, top:low, left:right]
    small = fit(torch.from_numpy(square), size).float()
    return (small * 255 / small.max().clamp(min=1)).round().to(torch.uint8)


def _ink(planes: Array) -> Array:
    """How far each pixel of canvases (n, H, W) is from the paper of its own: (n, H, W) int16."""
    edges = np.concatenate([planes[:, 0], planes[:, -1], planes[:, :, 0], planes[:, :, -1]], axis=1)
    middle = (edges.shape[1] - 1) // 2
    paper = np.partition(edges, middle, axis=1)[:, middle].astype(np.int16)
    return np.abs(planes - paper[:, None, None])


def _squares(ink: Array) -> Array:
    """The square around the ink of each canvas (n, H, W), with its margin: (n, 3) top, left and side. Where there is
    none, all of it."""
    height, width = ink.shape[1:]
    strongest = ink.max((1, 2))
    there = ink > (_SHARE * strongest.astype(np.float64)).astype(np.float32)[:, None, None]
    (top, bottom), (left, right) = (_ends(there.any(axis)) for axis in (2, 1))
    side = np.maximum(bottom - top, right - left)
    side = side + 2 * np.maximum(1, np.rint(_MARGIN * side).astype(np.int64))
    found = np.stack([(top + bottom - side) // 2, (left + right - side) // 2, side], axis=1)
    return np.where((strongest < _FAINT)[:, None], [0, 0, max(height, width)], found)


def _ends(there: Array) -> tuple[Array, Array]:
    """Of each row (n, length) bool, the number of the first that is there, and one more than that of the last."""
    return there.argmax(1), there.shape[1] - there[:, ::-1].argmax(1)


def on_dark(x: Tensor) -> Tensor:
    """Drawings (n, 1, S, S), each with its paper dark: inverted where most of its border is light. uint8, or [0, 1]."""
    if not len(x):
        return x
    white = 255 if x.dtype == torch.uint8 else 1
    edges = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], dim=-1)
    light = edges.flatten(1).median(dim=1).values > white / 2
    return torch.where(light[:, None, None, None], white - x, x)

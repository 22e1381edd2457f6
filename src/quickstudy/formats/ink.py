"""Drawings: lines of any colour on paper of any colour, wherever on the canvas, as ink 1 on 0 that fills the square."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
_TOGETHER = 64  # canvases that are cut at once
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
        parts = (_squares(_ink(pixels[at : at + _TOGETHER, 0].numpy())) for at in range(0, len(x), _TOGETHER))
        sides = [torch.from_numpy(part[:, 2]) for part in parts] or [torch.zeros(0)]
        loose = torch.cat(sides) < self.size - _SLACK
        if bool(loose.any()):
            filled = filled.clone()
            cut = self._all_inked(pixels[loose])
            filled[loose] = cut if x.dtype == torch.uint8 else cut.to(x) / 255
        return filled

    def _decoded(self, file: File) -> tuple[Tensor, Decoded]:
        """A file's canvas, and what it was."""
        image = decode(file, 1, side=self.size * _FINE, background=self.background)
        return image.pixels, image._replace(pixels=image.pixels[:, :0, :0])

    def _brought(self, canvases: Sequence[Tensor], files: Sequence[File]) -> Tensor:
        drawn = torch.zeros((len(files), 1, self.size, self.size), dtype=torch.uint8)
        alike: dict[torch.Size, list[int]] = {}
        for i, one in enumerate(canvases):
            alike.setdefault(one.shape, []).append(i)
        for rows in alike.values():
            drawn[rows] = _inked(np.concatenate([canvases[i].numpy() for i in rows]), self.size)
        other: Literal["white", "black"] = "black" if self.background == "white" else "white"
        blank = drawn.flatten(1).amax(1) == 0  # but for what is seen on the other background
        for i in blank.nonzero().flatten().tolist():
            image = decode(files[i], 1, side=self.size * _FINE, background=other)
            drawn[i] = inked(image.pixels, self.size)
        return 255 - drawn

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
        for at in range(0, len(pixels), _TOGETHER):
            done[at : at + _TOGETHER] = _inked(pixels[at : at + _TOGETHER, 0].numpy(), self.size)
        return done

    @property
    def example(self) -> str:
        return "drawing"


def inked(pixels: Tensor, size: int) -> Tensor:
    """A grey canvas (1, H, W) uint8 as ink (1, size, size) uint8, 255 on 0, cut to what is drawn; 0 where nothing is.

    The median of the border is the paper.
    """
    return _inked(pixels.numpy(), size)[0]


def _inked(planes: Array, size: int) -> Tensor:
    """`inked` of canvases (n, H, W): (n, 1, size, size)."""
    ink = _ink(planes)
    seen = ink.max((1, 2)) >= _FAINT
    ink = np.where(ink * 4 >= _FAINT, ink, 0).astype(np.uint8)
    cut = [fit(torch.from_numpy(_cut(*one)), size) for one in zip(ink, _squares(ink), strict=True)]
    small = torch.stack(cut).float() * torch.from_numpy(seen)[:, None, None, None]
    return (small * 255 / small.amax((1, 2, 3), keepdim=True).clamp(min=1)).round().to(torch.uint8)


def _cut(ink: Array, square: Array) -> Array:
    """A square (1, side, side) of ink (H, W), by its top, left and side; what is beyond is 0."""
    height, width = ink.shape
    up, back, side = map(int, square)
    top, left, low, right = max(up, 0), max(back, 0), min(up + side, height), min(back + side, width)
    found = np.zeros((1, side, side), ink.dtype)
    found[0, top - up : low - up, left - back : right - back] = ink[top:low, left:right]
    return found


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

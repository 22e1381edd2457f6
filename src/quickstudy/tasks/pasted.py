"""Transparent images pasted on photographs, each at a random place and in a random size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import leaves
from quickstudy.errors import DataError
from quickstudy.formats.base import Format
from quickstudy.formats.records import Records, say
from quickstudy.tasks.divide import split_classes
from quickstudy.tasks.stored import read

_SMALLEST, _LARGEST = 0.4, 0.8  # of the side of a photograph
_OPAQUE = 0.5
_PHOTO, _PLACE = range(2)


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """What transparent images are pasted on.

    x: (P, 3, S, S) uint8. splits: which of them are for each split, (p,). opacity: (n, S, S) uint8 of the images that
    are pasted, which were stored over white. distractors: how many other images are pasted before.
    """

    x: Tensor
    splits: Mapping[str, Tensor]
    opacity: Tensor
    distractors: int = 0

    def to(self, device: torch.device | str) -> Photographs:
        splits = {split: ids.to(device) for split, ids in self.splits.items()}
        return replace(self, x=self.x.to(device), splits=splits, opacity=self.opacity.to(device))

    def under(self, split: str, stored: Tensor, images: Tensor, y: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (n, 3, S, S) in [0, 1], and the labels of their pixels (n, S, S).

        stored: all images, over white, as uint8. images: (n, 1 + distractors) those that are pasted in each picture:
        the last is in front, and the only one whose labels y (n, S, S) count; all else is of class 0. keys: (n,).
        """
        pool = self.splits[split]
        chosen = pool[rng.integers(rng.fold(keys, _PHOTO), len(pool))]
        picture = self.x[chosen].float() / 255
        labels = torch.zeros_like(y)
        for layer in range(images.shape[1]):
            rows = images[:, layer]
            solid = self.opacity[rows][:, None].float() / 255
            ink = (stored[rows].float() / 255 - (1 - solid)).clamp(min=0)  # as it is over black
            front = torch.cat([ink, solid, (y[:, None] + 1).float()], 1)
            grid = _places(rng.fold(rng.fold(keys, _PLACE), layer), *y.shape[-2:])
            moved = F.grid_sample(front[:, :4], grid, align_corners=False)
            picture = picture * (1 - moved[:, 3:]) + moved[:, :3]
            if layer == images.shape[1] - 1:
                ids = F.grid_sample(front[:, 4:], grid, mode="nearest", align_corners=False)[:, 0].long() - 1
                labels = torch.where((moved[:, 3] >= _OPAQUE) & (ids >= 0), ids, 0)
        return picture, labels


def _places(keys: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of a picture lies in the image that is pasted on it, (n, height, width, 2): within it in
    [-1, 1]."""
    size, across, down = rng.uniform(keys, (3,)).unbind(1)
    size = _SMALLEST + (_LARGEST - _SMALLEST) * size
    zero = torch.zeros_like(size)
    free = 1 - size
    first = torch.stack([1 / size, zero, (1 - 2 * across) * free / size], 1)
    second = torch.stack([zero, 1 / size, (1 - 2 * down) * free / size], 1)
    return F.affine_grid(torch.stack([first, second], 1), [len(keys), 1, height, width], align_corners=False)


def photographs_at(
    place: str, format: Format, pasted: Records, distractors: int, val: float, test: float, split_seed: int
) -> Photographs:
    """The photographs in a folder, under images `pasted`; shares of them are for validation and test tasks alone."""
    stored = read(format, format.find(Path(place), labelled=False), "skip").stored
    say(stored.notices)
    if distractors < 0:
        raise DataError(f"distractors cannot be negative, found {distractors}.")
    splits = split_classes(len(stored.kept), val, test, split_seed, least=1)
    return Photographs(
        x=leaves(stored.x)[0], splits=splits, opacity=format.pixels.opacity(pasted.items), distractors=distractors
    )

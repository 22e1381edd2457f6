"""Random small distortions of images, and the eight symmetries of the square that turn one class into eight.

Everything is a pure function of per-image keys (`quickstudy.rng`), so an augmented episode repeats like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy import rng
from quickstudy.formats.distortion import Distortion

_FIELD = 4  # control points of the elastic field along each side: bends whole strokes, does not shred them


@dataclass(frozen=True)
class Augment(Distortion):
    """How far `augment` may distort an image. Every number is the largest amount; 0 switches that distortion off.

    Attributes:
        rotate: rotation in degrees, uniform in [-rotate, rotate].
        scale: log-scale of width and height, half of it shared by both; 0.2 gives factors from 1/1.2 to 1.2.
        shear: tangent of the horizontal shear, uniform in [-shear, shear].
        translate: shift along each axis as a fraction of the image side.
        elastic: standard deviation of a smooth displacement field, as a fraction of the image side.
        thickness: largest share, in [0, 1], with which an image is blended with its 3x3 dilation or erosion.
        flip: share of the images that are mirrored, left to right.
    """

    shares = ("translate", "elastic", "thickness", "flip")

    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    translate: float = 0.0
    elastic: float = 0.0
    thickness: float = 0.0
    flip: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether any part of it displaces pixels."""
        return any((self.rotate, self.scale, self.shear, self.translate, self.elastic, self.flip))


def augment(images: Tensor, keys: Tensor, how: Augment) -> Tensor:
    """Distort each image by its own random draw.

    Args:
        images: (n, C, H, W) float in [0, 1], background 0.
        keys: (n,) int64, one key an image; the same key gives the same distortion.
        how: how far to go; `Augment()` returns `images` itself.

    Returns:
        (n, C, H, W), on the device and in the dtype of `images`; what is moved in from outside is background.
    """
    if how.thickness:
        images = _thicken(images, rng.uniform(rng.fold(keys, 3), (), -how.thickness, how.thickness))
    if how.moves:
        grid = _grid(keys, how, *images.shape[-2:])
        images = F.grid_sample(images, grid.to(images.dtype), padding_mode="zeros", align_corners=False)
    return images


def augment_maps(maps: Tensor, keys: Tensor, how: Augment, fill: int) -> Tensor:
    """Maps of labels (n, H, W) over images that `augment` distorts by the same keys: each pixel takes the label of the
    nearest one, and `fill` where it is moved in from outside."""
    if not how.moves:
        return maps
    height, width = maps.shape[-2:]
    grid = _grid(keys, how, height, width)
    column, row = (((grid[..., i] + 1) * count - 1).div(2).round().long() for i, count in ((0, width), (1, height)))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
    return torch.where(inside, maps.flatten(1).gather(1, at).view_as(maps), fill)


def _grid(keys: Tensor, how: Augment, height: int, width: int) -> Tensor:
    """Where each pixel of a distorted image comes from, (n, H, W, 2) in [-1, 1]."""
    grid = F.affine_grid(_affine(keys, how), [len(keys), 1, height, width], align_corners=False)
    if how.elastic:
        grid = grid + 2.0 * how.elastic * _smooth_field(rng.fold(keys, 2), height, width)
    return grid


_VIEWS = (
    # rotation in degrees, scale of x, scale of y, shear
    (0.0, 1.0, 1.0, 0.0), (8.0, 1.0, 1.0, 0.0), (-8.0, 1.0, 1.0, 0.0), (0.0, 1.12, 1.12, 0.0), (0.0, 0.9, 0.9, 0.0),
    (0.0, 1.0, 1.0, 0.15), (0.0, 1.0, 1.0, -0.15), (0.0, 1.1, 0.92, 0.0), (0.0, 0.92, 1.1, 0.0),
)  # fmt: skip


def views(images: Tensor) -> list[Tensor]:
    """Nine fixed views of images (n, C, H, W): as they are, and slightly turned, scaled and sheared. No randomness."""
    seen = [images]
    for degrees, x_scale, y_scale, shear in _VIEWS[1:]:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = images.new_tensor([[cos, -sin], [sin, cos]])
        warp = turn @ images.new_tensor([[1.0, shear], [0.0, 1.0]]) @ images.new_tensor([[x_scale, 0], [0, y_scale]])
        theta = torch.cat([warp, warp.new_zeros(2, 1)], dim=1).expand(len(images), 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        seen.append(F.grid_sample(images, grid, align_corners=False))
    return seen


def dihedral(images: Tensor, which: Tensor) -> Tensor:
    """Apply one of the eight symmetries of the square to each image; each makes a new class of a character.

    Args:
        images: (n, C, S, S).
        which: (n,) int64 in 0..7: quarter turns counter-clockwise, `which % 4` of them, after a left-right mirror
            where `which >= 4`.

    Returns:
        (n, C, S, S); pixels are moved, never interpolated.
    """
    size = images.shape[-1]
    if images.shape[-2] != size:
        raise ValueError(f"dihedral needs square images, got {images.shape[-2]} x {size}: pad or resize them first")
    positions = torch.arange(size * size, device=images.device).reshape(size, size)
    mirrored = positions.flip(-1)
    turns = [torch.rot90(base, k, (0, 1)) for base in (positions, mirrored) for k in range(4)]
    source = torch.stack(turns).reshape(8, -1)[which]  # (n, S*S): where each pixel comes from
    return images.flatten(2).gather(2, source.unsqueeze(1).expand(-1, images.shape[1], -1)).reshape(images.shape)


def _affine(keys: Tensor, how: Augment) -> Tensor:
    """(n, 2, 3): the map from output to input coordinates, both in [-1, 1]."""
    u = rng.uniform(rng.fold(keys, 1), (7,), -1.0, 1.0)
    angle = u[:, 0] * math.radians(how.rotate)
    spread = math.log1p(how.scale)
    zoom_x = torch.exp(spread * 0.5 * (u[:, 1] + u[:, 2]))
    zoom_y = torch.exp(spread * 0.5 * (u[:, 1] + u[:, 3]))
    shear = u[:, 4] * how.shear
    cos, sin = torch.cos(angle), torch.sin(angle)
    if how.flip:
        zoom_x = torch.where(rng.uniform(rng.fold(keys, 4)) < how.flip, -zoom_x, zoom_x)
    first = torch.stack([cos * zoom_x, (cos * shear - sin) * zoom_y, 2.0 * how.translate * u[:, 5]], dim=-1)
    second = torch.stack([sin * zoom_x, (sin * shear + cos) * zoom_y, 2.0 * how.translate * u[:, 6]], dim=-1)
    return torch.stack([first, second], dim=1)


def _smooth_field(keys: Tensor, height: int, width: int) -> Tensor:
    """(n, H, W, 2): a standard normal at each point of a coarse grid, bicubic in between."""
    coarse = rng.normal(keys, (2, _FIELD, _FIELD))
    fine = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return fine.permute(0, 2, 3, 1)


def _thicken(images: Tensor, amount: Tensor) -> Tensor:
    """Blend each image with its dilation (amount > 0) or its erosion (amount < 0)."""
    amount = amount.to(images.dtype).view(-1, 1, 1, 1)
    wide = F.max_pool2d(images, 3, stride=1, padding=1)
    thin = -F.max_pool2d(-images, 3, stride=1, padding=1)
    return torch.lerp(images, torch.where(amount > 0, wide, thin), amount.abs())

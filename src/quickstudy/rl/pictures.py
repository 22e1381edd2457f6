"""Pictures of environments, as tensors: what `watch` shows."""

from __future__ import annotations

import torch
from torch import Tensor

BACK, WALL, AGENT, GOAL, OTHER = (
    (0.97, 0.97, 0.95), (0.80, 0.80, 0.78), (0.15, 0.40, 0.75), (0.20, 0.65, 0.35), (0.45, 0.45, 0.47),
)  # fmt: skip
PLANES = (AGENT, (0.90, 0.55, 0.10), GOAL, OTHER)
Colour = tuple[float, float, float]


def canvas(lanes: int, height: int, width: int, device: torch.device) -> Tensor:
    """Empty pictures (n, height, width, 3) in [0, 1]."""
    return torch.tensor(BACK, device=device).expand(lanes, height, width, 3).clone()


def discs(picture: Tensor, x: Tensor, y: Tensor, radius: float, colour: Colour) -> Tensor:
    """The pictures with a disc in each at x, y (n,) in pixels."""
    rows = torch.arange(picture.shape[1], device=picture.device)[None, :, None]
    columns = torch.arange(picture.shape[2], device=picture.device)[None, None]
    near = (rows - y[:, None, None]).square() + (columns - x[:, None, None]).square() <= radius**2
    return torch.where(near[..., None], torch.tensor(colour, device=picture.device), picture)


def boxes(picture: Tensor, x: Tensor, y: Tensor, width: float, height: float, colour: Colour) -> Tensor:
    """The pictures with a box in each whose middle is at x, y (n,) in pixels."""
    rows = torch.arange(picture.shape[1], device=picture.device)[None, :, None]
    columns = torch.arange(picture.shape[2], device=picture.device)[None, None]
    near = ((rows - y[:, None, None]).abs() <= height / 2) & ((columns - x[:, None, None]).abs() <= width / 2)
    return torch.where(near[..., None], torch.tensor(colour, device=picture.device), picture)


def cells(planes: Tensor, side: int) -> Tensor:
    """Planes (n, C, rows, columns) of 0 and 1 as pictures with cells of `side` pixels, each plane in its colour."""
    lanes, _, rows, columns = planes.shape
    picture = canvas(lanes, rows, columns, planes.device)
    for plane, colour in zip(planes.unbind(1), PLANES, strict=False):
        picture = torch.where(plane[..., None] > 0.5, torch.tensor(colour, device=planes.device), picture)
    return picture.repeat_interleave(side, 1).repeat_interleave(side, 2)

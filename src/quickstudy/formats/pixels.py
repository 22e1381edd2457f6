"""Stored pixels of one size and number of channels, as another format of images has them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_AT_ONCE = 1024
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as files are made grey


def brought(x: Tensor, size: int, channels: int, inverted: bool) -> Tensor:
    """Pixels (n, C, S, S), uint8 or in [0, 1], as (n, channels, size, size) of the same type.

    Grey is repeated in all channels, colour is made grey by its luma. inverted: black and white change places.
    """
    if x.dtype != torch.uint8:
        return _brought(x, size, channels, inverted, 1.0)
    parts = [_brought(part.float(), size, channels, inverted, 255.0) for part in x.split(_AT_ONCE)]  # type: ignore[no-untyped-call]
    return torch.cat([part.round_().clamp_(0, 255).to(torch.uint8) for part in parts])


def _brought(x: Tensor, size: int, channels: int, inverted: bool, white: float) -> Tensor:
    if x.shape[1] > channels:
        x = (x * x.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    if x.shape[-1] != size:
        x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return (white - x if inverted else x).expand(-1, channels, -1, -1).contiguous()

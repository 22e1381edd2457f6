"""Attention of queries over a support set that may be padded, or empty."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.models.readers.base import Learned


class Attention(nn.Module):
    """Several heads of scaled dot products (Vaswani et al. 2017). Keys and values are made once and kept."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"A width of {width} cannot be shared by {heads} heads. Choose a divisor of the width.")
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def split(self, h: Tensor) -> Tensor:
        """(heads, n, width / heads) of (n, width)."""
        return h.reshape(*h.shape[:-1], self.heads, h.shape[-1] // self.heads).transpose(-3, -2)

    def keep(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (heads, n, width / heads) of what can be looked at, (n, width)."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def forward(self, h: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """(m, width) for h (m, width); mask (n,) or (m, n): what may be looked at, of which there must be one."""
        if not (keys.shape[-2] and h.shape[0]):  # on a GPU PyTorch's own fails
            return cast(Tensor, self.out(torch.zeros_like(h)))
        mixed = F.scaled_dot_product_attention(self.split(self.query(h)), keys, values, mask.expand(h.shape[0], -1))
        out: Tensor = self.out(mixed.transpose(-3, -2).flatten(-2))
        return out


class Pointer(nn.Module):
    """log of the probability that each class has by attention over labelled examples; of any number of classes.

    Cosine similarity, at a learned temperature. A small share goes to all classes alike, so that the log is finite.
    """

    def __init__(self, width: int, size: int = 64) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, size, bias=False), nn.Linear(width, size, bias=False)
        self.sharpness = Learned(1)

    def keep(self, memory: Tensor) -> Tensor:
        """(n, size) for the support (n, width)."""
        return F.normalize(self.key(memory), dim=-1)

    def forward(self, h: Tensor, keys: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """(m, classes) for h (m, width), one-hot labels y (n, classes)."""
        sharp = 10.0 * self.sharpness().exp()
        scores = sharp * F.normalize(self.query(h), dim=-1) @ keys.T
        weights = torch.where(mask, scores, torch.finfo(scores.dtype).min / 2).softmax(-1) * mask
        return (weights @ y + 1e-3 / y.shape[1]).log()

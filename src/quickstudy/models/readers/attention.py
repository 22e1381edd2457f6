"""Attention of queries over a support set that may be padded, or empty."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.models.readers.base import Learned

_MOST = 1 << 24  # weights that are held at once


def _mixed(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """PyTorch's attention where the weights are many; where they are few they are written out, since its kernels have
    no rule for `vmap` and run task by task there. An export knows no number of queries, and writes them out."""
    if not torch.compiler.is_compiling() and query.shape[:-1].numel() * keys.shape[-2] > _MOST:
        return F.scaled_dot_product_attention(query, keys, values, mask)
    scores = query @ keys.transpose(-2, -1) / query.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
    mixed: Tensor = weights.to(values.dtype) @ values
    return mixed


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
        """Keys and values (…, heads, n, width / heads) of what can be looked at, (…, n, width)."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def forward(self, h: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """(…, m, width) for h (…, m, width), with keys and values (…, heads, n, width / heads) and mask (n,) or (m, n):
        what may be looked at, of which there must be one."""
        if not (keys.shape[-2] and h.numel()):  # on a GPU PyTorch's own fails
            return cast(Tensor, self.out(torch.zeros_like(h)))
        mixed = _mixed(self.split(self.query(h)), keys, values, mask.expand(h.shape[-2], -1))
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

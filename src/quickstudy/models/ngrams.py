"""Texts as bags of hashed runs of tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Depth, Size
from quickstudy.models.head import with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

_IDS, _MASK = "input_ids", "attention_mask"
_FACTORS = (1, 31_337_201, 15_485_863, 67_867_967, 86_028_121, 49_979_687)
_PRIME = 2_147_483_647


class NGrams(nn.Module):
    """The weighted mean of the vectors of all runs of 1 to `orders` tokens, of length 1: (n, width).

    A run has one of `buckets` vectors and weights, by a hash of its ids and its length (Weinberger et al. 2009).
    """

    def __init__(self, buckets: int, width: int, orders: int) -> None:
        super().__init__()
        self.buckets, self.orders = buckets, orders
        self.vectors = nn.Embedding(buckets, width)
        self.weights = nn.Embedding(buckets, 1)
        nn.init.zeros_(self.weights.weight)

    def runs(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The bucket of each run of tokens (n, L · orders), and whether there is one that ends there."""
        length = ids.shape[1]
        value, there = torch.zeros_like(ids), torch.ones_like(mask, dtype=torch.bool)
        buckets, known = [], []
        for back in range(self.orders):
            pad = min(back, length)
            value = (value * _FACTORS[1] + F.pad(ids + 1, (pad, 0))[:, :length] * _FACTORS[2]) % _PRIME
            there = there & F.pad(mask > 0, (pad, 0))[:, :length]
            buckets.append((value * _FACTORS[3] + (back + 1) * _FACTORS[4]) % _PRIME % self.buckets)
            known.append(there)
        return torch.cat(buckets, dim=1), torch.cat(known, dim=1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        buckets, there = self.runs(input_ids, attention_mask)
        weights = self.weights(buckets)[..., 0].exp() * there
        z = torch.einsum("nl,nld->nd", weights, self.vectors(buckets))
        return F.normalize(z, dim=1, eps=1e-6)


@models.register("ngrams", axes=-1, several=True)
def ngrams(
    spec: TaskSpec, head: bool = True, *, buckets: Size = 1 << 15, width: Size = 256, orders: Depth = 3
) -> nn.Module:
    encoder = NGrams(buckets, width, orders)
    return with_head(encoder, width, spec) if head else encoder

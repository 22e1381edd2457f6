"""What learners put behind an encoder: a network that compares two embeddings, and one that sees a set of them."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn


class SetAttention(nn.Module):
    """One layer of self-attention over a set of points, with a residual connection and LayerNorm (Vaswani et al. 2017).

    It maps z_i to LayerNorm(z_i + W_o Σ_j α_ij W_v z_j), α_ij = softmax_j((W_q z_i)·(W_k z_j) / √D), in whatever order
    they come. dropout: of what attention adds, in training.
    """

    def __init__(self, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(size, size, bias=False) for _ in range(3))
        self.out, self.norm, self.drop = nn.Linear(size, size), nn.LayerNorm(size), nn.Dropout(dropout)

    def forward(self, points: Tensor, sets: Tensor, mask: Tensor) -> Tensor:
        """(n, D) for points (n, D). sets: (n,) int64, to which set each belongs; it sees those of its own that are real
        by `mask` (n,)."""
        among = (sets[:, None] == sets) & mask
        scores = self.query(points) @ self.key(points).T / math.sqrt(points.shape[1])
        weights = torch.where(among, scores, -1e9).softmax(1)
        adapted: Tensor = self.norm(points + self.drop(self.out(weights @ self.value(points))))
        return adapted


def relation(shape: tuple[int, ...], width: int) -> nn.Sequential:
    """From pairs of embeddings of this shape, joined along their first axis, (m, 2·C, …), to one score each, (m, 1).

    For maps (C, H, W) two 3×3 convolutions of `width` filters, each with BatchNorm, ReLU and halving where there is
    something to halve, then a layer of 8 units (Sung et al. 2018); for anything else a hidden layer of `width` units.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, *space = shape
    if len(space) != 2:
        layers["flatten"] = nn.Flatten()
        layers["hidden"], layers["relu"] = nn.Linear(2 * math.prod(shape), width), nn.ReLU()
        layers["score"] = nn.Linear(width, 1)
        return nn.Sequential(layers)
    inputs = 2 * channels
    for number in (1, 2):
        block: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(inputs, width, 3, padding=1), norm=nn.BatchNorm2d(width), relu=nn.ReLU()
        )
        if min(space) > 1:
            block["pool"], space = nn.MaxPool2d(2), [size // 2 for size in space]
        layers[f"block{number}"], inputs = nn.Sequential(block), width
    layers["flatten"] = nn.Flatten()
    layers["hidden"], layers["relu"] = nn.Linear(width * math.prod(space), 8), nn.ReLU()
    layers["score"] = nn.Linear(8, 1)
    return nn.Sequential(layers)

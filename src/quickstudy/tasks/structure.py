"""Parts of the random structural models that made-up tables come from. T tasks, n rows, H nodes of a layer."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from quickstudy import rng

HIDDEN = 32
"""Nodes of each of the three layers of a model."""
_CLUSTERS = 3  # at most, of one class


def between(key: Tensor, low: float, high: float, shape: tuple[int, ...] = ()) -> Tensor:
    """Even in the logarithm, one number a task: (T, 1, 1) unless a shape is given."""
    drawn = rng.uniform(key, shape or (1, 1), math.log(low), math.log(high))
    return drawn.exp()


def bent_by(h: Tensor, key: Tensor) -> Tensor:
    """One of five functions, another for each task; h (T, n, H)."""
    kind = rng.integers(key, 5, (1, 1))
    bent = torch.where(
        kind == 1, h.relu(), torch.where(kind == 2, h.abs(), torch.where(kind == 3, torch.sin(2 * h), h))
    )
    return torch.where(kind == 0, torch.tanh(h), bent)


def standard(h: Tensor) -> Tensor:
    """Every column of h (T, n, H) with mean 0 and spread 1."""
    return (h - h.mean(1, keepdim=True)) / h.std(1, keepdim=True).clamp(min=1e-4)


def by_share(u: Tensor, limits: Tensor) -> Tensor:
    """The class of each number u (T, n) in [0, 1), where classes end at `limits` (T, N)."""
    return (u[:, :, None] >= limits[:, None]).sum(2).clamp(max=limits.shape[1] - 1)


def nodes_of(first: Tensor, each: Iterator[Tensor], rows: int, ways: int) -> tuple[Tensor, Tensor]:
    """All nodes (T, n, 3H), and those of the last layer. first: the class (T, n) it begins with, −1 for none; there are
    at most `ways`."""
    size = HIDDEN
    active = torch.arange(size, device=first.device) < between(next(each), 2, size + 1).floor()
    centres = rng.normal(next(each), (ways * _CLUSTERS, size)) * between(next(each), 1, 8)
    clusters = 1 + rng.integers(next(each), _CLUSTERS, (2,)).amin(1, keepdim=True)
    which = first.clamp(min=0) * _CLUSTERS + rng.integers(next(each), clusters, (rows,))
    centre = centres.gather(1, which[:, :, None].expand(-1, -1, size))
    spread = between(next(each), 0.3, 1.5, (1, size))
    h = rng.normal(next(each), (rows, size)) * spread + torch.where(first[:, :, None] >= 0, centre, 0.0)
    h = h * active
    layers = [h]
    for _ in range(2):
        weights = rng.normal(next(each), (size, size)) * (rng.uniform(next(each), (size, size)) < 0.4)
        h = standard(h @ weights) + rng.normal(next(each), (1, size))
        h = bent_by(h, next(each))
        h = h + between(next(each), 0.005, 0.2) * rng.normal(next(each), (rows, size))
        layers.append(h)
    return torch.cat(layers, dim=2), h


def columns_of(nodes: Tensor, most: int, each: Iterator[Tensor]) -> Tensor:
    """(T, n, most): nodes drawn at random, some rounded, some stretched; columns that a task lacks are 0."""
    chosen = rng.choose(next(each), torch.tensor(nodes.shape[2]), most)
    x = standard(nodes.gather(2, chosen[:, None].expand(-1, nodes.shape[1], -1)))
    how = rng.uniform(next(each), (1, most))
    steps = between(next(each), 0.3, 2, (1, most))
    x = torch.where(how < 0.2, (x / steps).round() * steps, torch.where(how > 0.85, x.clamp(max=4).exp(), x))
    count = between(next(each), 2, most + 1).floor()
    return standard(x) * (torch.arange(most, device=nodes.device) < count)

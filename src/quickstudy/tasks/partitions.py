"""Classes where nobody has named any: clusters of features, several times over, each time by other distances."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy import rng

_ROUNDS = 30  # of Lloyd's algorithm; it has mostly settled before
_CHUNK = 4096  # rows whose distances are held at once
_DIRECTIONS = 64  # that are clustered by, of features of more


def k_means(z: Tensor, clusters: int, key: Tensor, rounds: int = _ROUNDS) -> tuple[Tensor, Tensor]:
    """The cluster (n,) int64 of each row of z (n, D), and the centres (clusters, D).

    Lloyd's algorithm from centres drawn by k-means++ (Arthur & Vassilvitskii 2007), until nothing moves. A cluster that
    loses all its rows takes the row that lies farthest from its own centre. Fewer rows than clusters: each is its own.

    >>> k_means(torch.tensor([[0.0], [0.1], [9.0], [9.1]]), 2, rng.key(0))[0].unique().tolist()
    [0, 1]
    """
    clusters = min(clusters, len(z))
    centres = _spread_out(z, clusters, key)
    before = z.new_full((len(z),), -1, dtype=torch.int64)
    for _ in range(rounds):
        ids, away = nearest(z, centres)
        if torch.equal(ids, before):
            break
        before = ids
        counts = ids.bincount(minlength=clusters)
        total = torch.zeros_like(centres).index_add_(0, ids, z)
        centres = total / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero().flatten()
        centres[empty] = z[away.topk(len(empty)).indices]
    return nearest(z, centres)[0], centres


def nearest(z: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centre of each row (n,) int64, and the squared distance to it (n,)."""
    parts = [torch.cdist(part, centres).min(1) for part in z.split(_CHUNK)]  # type: ignore[no-untyped-call]
    return torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts]).square()


def _spread_out(z: Tensor, clusters: int, key: Tensor) -> Tensor:
    """Rows of z as first centres: each is drawn by its squared distance to those drawn before."""
    draws = rng.uniform(key.to(z.device), (clusters,)).to(z.dtype)
    chosen = [int(draws[0] * len(z))]
    away = (z - z[chosen[0]]).square().sum(1)
    for draw in draws[1:]:
        ends = away.double().cumsum(0)
        at = min(int(torch.searchsorted(ends, draw.double() * ends[-1])), len(z) - 1)
        chosen.append(at)
        away = torch.minimum(away, (z - z[at]).square().sum(1))
    return z[chosen]


def partitions(z: Tensor, clusters: int, count: int, seed: int) -> Tensor:
    """`count` partitions of n examples by their features z (n, …) into clusters: the cluster of each, (count, n) int64.

    Each is by k-means, after every direction of the features was multiplied by a number of its own, uniform in [0, 1),
    so that the partitions differ in what they look at (CACTUs, Hsu, Levine & Finn 2019). Of features of more than 64
    numbers, the 64 directions in which they vary most are taken.
    """
    z = main_directions(z.flatten(1).float(), _DIRECTIONS)
    keys = [rng.key(seed, "partition", number) for number in range(count)]
    scales = [rng.uniform(rng.fold(key, 1), (z.shape[1],)).to(z) for key in keys]
    return torch.stack([k_means(z * scale, clusters, key)[0] for key, scale in zip(keys, scales, strict=True)])


def main_directions(z: Tensor, count: int) -> Tensor:
    """z (n, D), less its mean, in the `count` orthogonal directions in which it varies most: (n, count); z itself, less
    its mean, where it has no more."""
    z = z - z.mean(0)
    if z.shape[1] <= count:
        return z
    directions = torch.linalg.eigh(z.T.double() @ z.double()).eigenvectors[:, -count:]
    projected: Tensor = z @ directions.to(z)
    return projected

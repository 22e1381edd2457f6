"""Samples of sound as they are stored: 16-bit numbers, each recording from the left of a row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.formats.leaving import shares

COMPACT = ("samples", "length")
"""What is stored of recordings: (n, size) int16, and how many of them each has, (n,) int32."""
FULL = 32768.0
"""The 16-bit number of a sample of 1."""


def packed(pieces: Sequence[Tensor], size: int) -> dict[str, Tensor]:
    """`COMPACT` tensors of recordings of at most `size` samples in [-1, 1]."""
    samples = torch.zeros((len(pieces), size), dtype=torch.int16)
    for row, piece in zip(samples, pieces, strict=True):
        row[: len(piece)] = (piece * FULL).round().clamp(-FULL, FULL - 1).to(torch.int16)
    return {"samples": samples, "length": torch.tensor([len(piece) for piece in pieces], dtype=torch.int32)}


def floating(samples: Tensor) -> Tensor:
    """Samples in [-1, 1], of 16-bit numbers; others as they are."""
    return samples if samples.is_floating_point() else samples.to(torch.float32) / FULL


def tones(key: Tensor, count: int, shortest: int, size: int) -> dict[str, Tensor]:
    """`COMPACT` tensors of made-up recordings, by a key of `quickstudy.rng`: tones in noise, of all lengths."""
    length = shares(rng.fold(key, 0), count, size).clamp(min=shortest)
    pitch = rng.uniform(rng.fold(key, 1), (count, 1), 0.01, 0.8)
    noise = rng.normal(rng.fold(key, 2), (count, size))
    sound = 0.3 * torch.sin(pitch * torch.arange(size)) + 0.05 * noise
    sound = torch.where(torch.arange(size) < length[:, None], sound, 0.0)
    return {"samples": (sound * FULL).clamp(-FULL, FULL - 1).to(torch.int16), "length": length.int()}

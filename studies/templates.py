"""Isolated words by the alignment of their frames with those of each example: what is known without a network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import quickstudy as qs
from quickstudy.learners.pretrained import whitening
from quickstudy.tasks.pooled import PooledSource

CEPSTRA, CONTEXT, PARTS = 13, 4, 8
_STRIDE = 2  # frames: of the context, and from one vector to the next


def cepstra(x: Tensor) -> list[Tensor]:
    """Of spectrograms (n, 1, mels, frames), 0 where there is nothing: vectors (t, 5 · 13) of each, every 20 ms.

    Cepstral coefficients 1 to 13 (Davis & Mermelstein 1980) of a frame and of its neighbours up to 40 ms away.
    """
    mels = x.shape[2]
    angle = (torch.arange(mels) + 0.5) * (math.pi / mels)
    cosines = (torch.arange(1, CEPSTRA + 1)[:, None] * angle).cos() * math.sqrt(2 / mels)
    found = []
    for one in x[:, 0]:
        there = one.abs().sum(0).nonzero().flatten()
        frames = cosines @ one[:, int(there[0]) : int(there[-1]) + 1]
        wide = F.pad(frames[None], (CONTEXT, CONTEXT), mode="replicate")[0]
        near = [wide[:, i : i + frames.shape[1]] for i in range(0, 2 * CONTEXT + 1, _STRIDE)]
        found.append(torch.cat(near)[:, ::_STRIDE].T)
    return found


def aligned(one: Tensor, other: Tensor, lengths: tuple[Tensor, Tensor]) -> Tensor:
    """Distances (n,) of sequences (n, s, D) and (n, t, D) of these lengths, by dynamic time warping.

    The smallest sum of the euclidean distances of frames along a path, where a step in both counts twice, over the sum
    of the lengths (Sakoe & Chiba 1978, symmetric form, without a bound on the slope).
    """
    cost = torch.cdist(one, other)
    count, s, t = cost.shape
    total = torch.full((count, s + 1, t + 1), math.inf)
    total[:, 0, 0] = 0.0
    for diagonal in range(2, s + t + 1):
        i = torch.arange(max(1, diagonal - t), min(s, diagonal - 1) + 1)
        j = diagonal - i
        here = cost[:, i - 1, j - 1]
        either = torch.minimum(total[:, i - 1, j], total[:, i, j - 1]) + here
        total[:, i, j] = torch.minimum(either, total[:, i - 1, j - 1] + 2 * here)
    return total[torch.arange(count), lengths[0], lengths[1]] / (lengths[0] + lengths[1])


def of_parts(source: Any) -> tuple[Tensor, Tensor]:
    """Mean (D,) and whitening (D, D) of the vectors of training words, within each eighth of each word."""
    episode = PooledSource(source=source, batch=1000).episodes("train", torch.tensor([0]))
    words, names = cepstra(episode.query.x[0]), episode.query.y[0]
    part = [y * PARTS + torch.arange(len(word)) * PARTS // len(word) for word, y in zip(words, names, strict=True)]
    frames, y = torch.cat(words), torch.cat(part)
    return frames.mean(0), whitening(frames, y, 0.5)


def accuracies(
    root: Path, options: dict[str, Any], shots: int, queries: int, episodes: int, learn: bool
) -> list[float]:
    """Of test tasks, each query by the class whose examples are nearest in the mean.

    learn: whiten vectors by what training words teach, and compare their directions.
    """
    source = qs.tasks.audio(root=str(root), **options).sampled(qs.Sampling(5, shots, queries))
    mean, white = of_parts(source) if learn else (torch.zeros(()), None)
    found = []
    for index in range(episodes):
        support, query = source.episodes("test", torch.tensor([index]))
        known, asked = (cepstra(part.x[0]) for part in (support, query))
        if white is not None:
            known, asked = ([F.normalize((one - mean) @ white, dim=1) for one in part] for part in (known, asked))
        size = [torch.tensor([len(one) for one in part]) for part in (known, asked)]
        rows, columns = (torch.nn.utils.rnn.pad_sequence(part, batch_first=True) for part in (asked, known))
        a = torch.arange(len(asked)).repeat_interleave(len(known))
        b = torch.arange(len(known)).repeat(len(asked))
        distance = aligned(rows[a], columns[b], (size[1][a], size[0][b])).view(len(asked), len(known))
        member = F.one_hot(support.y[0], 5).to(distance.dtype)
        nearest = (distance @ member / member.sum(0)).argmin(1)
        found.append(float((nearest == query.y[0])[query.mask[0]].float().mean()))
    return found

"""Episodes the usual way: a data set of single images, a batch sampler of episodes and a collate function."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

Sample = tuple[Tensor, int]


class Images(Dataset[Sample]):
    """uint8 images in memory, given out one by one: as float in [0, 1], or as they are (`convert` false)."""

    def __init__(self, x: Tensor, y: list[int], convert: bool) -> None:
        self.x, self.y, self.convert = x, y, convert

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> Sample:
        image = self.x[index]
        return (image.float().div_(255) if self.convert else image), self.y[index]


class Batches(Images):
    """The same images, as floats, all of an episode taken out at once, which hardly any data set can do."""

    def __getitems__(self, indices: list[int]) -> Tensor:
        return self.x[indices].float().div_(255)


class EpisodeSampler(Sampler[list[int]]):
    """The indices of one episode after another: `ways` classes, of each `shots` + `queries` different examples."""

    def __init__(self, y: list[int], episodes: int, ways: int, shots: int, queries: int) -> None:
        labels = torch.tensor(y)
        self.members = [(labels == label).nonzero().flatten() for label in labels.unique().tolist()]
        self.episodes, self.ways, self.each = episodes, ways, shots + queries

    def __len__(self) -> int:
        return self.episodes

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.episodes):
            chosen = torch.randperm(len(self.members))[: self.ways].tolist()
            drawn = [self.members[c][torch.randperm(len(self.members[c]))[: self.each]] for c in chosen]
            yield torch.cat(drawn).tolist()


def collate(samples: list[Sample] | Tensor, ways: int, shots: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support images and labels, query images and labels; uint8 images become float here."""
    x = samples if isinstance(samples, Tensor) else torch.stack([image for image, _ in samples])
    x = x if x.is_floating_point() else x.float().div_(255)
    x = x.reshape(ways, -1, *x.shape[1:])
    y = torch.arange(ways)[:, None].expand(ways, x.shape[1])
    parts = (x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:])
    return tuple(part.flatten(0, 1) for part in parts)  # type: ignore[return-value]


def loader(
    x: Tensor, y: list[int], workers: int, convert: bool, episodes: int, data: type[Images] = Images
) -> DataLoader[Any]:
    """5-way 1-shot episodes with 15 queries per class, one a batch."""
    return DataLoader(
        data(x, y, convert),
        batch_sampler=EpisodeSampler(y, episodes, 5, 1, 15),
        collate_fn=partial(collate, ways=5, shots=1),
        num_workers=workers,
    )

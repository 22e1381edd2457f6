"""Tasks of segmentation: some images of a few concepts with their masks, and new ones to find the concepts in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, Features, leaves, map_features
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.distortion import Distortion
from quickstudy.spec import TaskSpec
from quickstudy.targets.maps import IGNORED
from quickstudy.tasks.base import Sampling, Source, presence
from quickstudy.tasks.groups import Groups
from quickstudy.tasks.pasted import Photographs

_PLAIN, _SAMPLING = Distortion(), Sampling(ways=2, shots=5, queries=5)
_CONCEPTS, _IMAGES, _SIZES, _AUGMENT, _PASTE, _OTHERS, _SIDES = range(7)
_ATTEMPTS = 24
IGNORE = 255
"""The id of pixels that count nowhere."""
_AT_ONCE = 256  # maps


@dataclass(frozen=True, kw_only=True)
class MaskSource(Source):
    """Each task is K images with masks of N − 1 concepts, and Q without; class 0 is all that is none of these.

    x: (n, …) images as the format stores them. maps: (n, height, width) int16, the numbers in `names` of what pixels
    show, 0 for the background and IGNORED. splits: the concepts (S,) of each split, numbers in `names`. Shots and
    queries count images: the first shows the first concept, the second the second, and so on in turn, and no image is
    in a task twice. ignore: the id of pixels that count nowhere. augmentation: of training examples. photographs: what
    images are pasted on, if they are. records: which group each image is of; no group is in both support and query.
    """

    x: Features
    maps: Tensor
    names: tuple[str, ...]
    splits: Mapping[str, Tensor]
    spec: TaskSpec
    sampling: Sampling = _SAMPLING
    seed: int = 0
    ignore: int = IGNORE
    augmentation: Distortion = _PLAIN
    photographs: Photographs | None = None
    records: Groups | None = None

    @property
    def balanced(self) -> bool:
        return False

    def sampled(self, sampling: Sampling) -> MaskSource:
        if sampling.min_ways is not None or sampling.groups is not None:
            raise ConfigError("Tasks of masks all have the same number of classes, of no groups. Leave min_ways out.")
        if sampling.ways < 2:
            raise ConfigError("Tasks of masks have 2 ways at least: a concept, and all that is none. Raise the ways.")
        return replace(self, sampling=sampling, spec=self.spec.at(sampling.ways))

    def seeded(self, seed: int) -> MaskSource:
        return replace(self, seed=seed)

    def plain(self) -> MaskSource:
        return replace(self, augmentation=_PLAIN)

    def to(self, device: torch.device | str) -> MaskSource:
        splits = {split: ids.to(device) for split, ids in self.splits.items()}
        photographs = None if self.photographs is None else self.photographs.to(device)
        x, records = map_features(lambda t: t.to(device), self.x), self.records and self.records.to(device)
        return replace(
            self, x=x, maps=self.maps.to(device), splits=splits, photographs=photographs, records=records
        )  # fmt: skip

    @cached_property
    def shows(self) -> Tensor:
        """Which concepts each image shows, (C, n) bool."""
        return shown(self.maps, len(self.names))

    def check(self, split: str) -> None:
        self.known(split)
        size, ids = self.sampling, self.splits[split]
        concepts = size.ways - 1
        if len(ids) < concepts:
            raise DataError(
                f"{size.ways}-way tasks need {concepts} concepts, and the background beside them, but the split "
                f"{split!r} has {len(ids)}. Lower the ways (--ways), or add concepts."
            )
        need = -(-size.shots // concepts) + -(-size.queries // concepts)
        counts = self.shows[ids].sum(1)
        short = ids[counts < need].tolist()
        if short:
            raise DataError(
                f"{size.shots} shots + {size.queries} queries need {need} images of each concept, but of "
                f"{self.names[short[0]]!r} in the split {split!r} there are {int(counts.min())}"
                f"{f' ({len(short)} concepts have too few)' if len(short) > 1 else ''}. Add images, lower the shots or "
                f"queries, or leave small concepts out (--tasks.min-class {need})."
            )
        if self.records is not None:
            self.records.check_shown(split, self.shows[ids], [self.names[i] for i in ids.tolist()])

    def classes(self, split: str) -> list[str]:
        return [self.names[i] for i in self.splits[split].tolist()]

    def class_names(self, split: str, index: int) -> list[str]:
        concepts = self._concepts(split, self._keys(split, torch.tensor([index])))[0]
        return [self.names[0], *(self.names[i] for i in concepts.tolist())]

    def _keys(self, split: str, indices: Tensor) -> Tensor:
        device = self.maps.device
        return rng.fold(rng.key(self.seed, split, device=device), indices.to(device))

    def _concepts(self, split: str, keys: Tensor) -> Tensor:
        """The concepts of each task, (T, N − 1)."""
        ids = self.splits[split]
        drawn = rng.choose(rng.fold(keys, _CONCEPTS), torch.tensor(len(ids), device=ids.device), self.sampling.ways - 1)
        return ids[drawn]

    def episodes(self, split: str, indices: Tensor) -> Episode:
        self.check(split)
        size, keys = self.sampling, self._keys(split, indices)
        concepts = self._concepts(split, keys)
        images = self._images(split, concepts, keys)
        shape = images.shape
        y = self._labels(concepts, images)
        x: Features
        if self.photographs is not None:
            drawing = rng.split(rng.fold(keys, _PASTE), shape[1]).flatten()
            layers = torch.cat([self._others(split, concepts, keys, images), images[..., None]], 2).flatten(0, 1)
            x, flat = self.photographs.under(split, leaves(self.x)[0], layers, y.flatten(0, 1), drawing)
            y = flat.view_as(y)
        else:
            x = self.spec.format.features(map_features(lambda t: t[images.flatten()], self.x))
        if split == "train" and self.augmentation:
            drawing = rng.split(rng.fold(keys, _AUGMENT), shape[1]).flatten()
            x, flat = self.spec.format.pixels.distorted(x, y.flatten(0, 1), drawing, self.augmentation, self.ignore)
            y = flat.view_as(y)
        x = map_features(lambda t: t.view(*shape, *t.shape[1:]), x)
        there = torch.ones(shape, dtype=torch.bool, device=y.device)
        if size.min_shots is not None:
            _, given = presence(size, rng.fold(keys, _SIZES))
            there[:, : size.shots] = torch.arange(size.shots, device=y.device) < given[:, :1]

        def part(own: slice) -> Examples:
            return Examples(map_features(lambda t: t[:, own], x), y[:, own], there[:, own])

        return Episode(part(slice(size.shots)), part(slice(size.shots, None)))

    def _others(self, split: str, concepts: Tensor, keys: Tensor, images: Tensor) -> Tensor:
        """Images of the split that show none of a task's concepts, to be pasted beside its own: (T, K + Q, D)."""
        assert self.photographs is not None
        each = self.photographs.distractors
        allowed = self.shows[self.splits[split]].any(0) & ~self.shows[concepts].any(1)
        order = rng.bits(rng.fold(keys, _OTHERS), (len(self.maps),))
        chosen = torch.where(allowed, order, -1).topk(images.shape[1] * each, dim=1)
        if bool((chosen.values < 0).any()):
            raise DataError(
                f"There are fewer than {images.shape[1] * each} images of other concepts in the split {split!r} to be "
                "pasted beside those of a task. Lower the distractors, or add concepts."
            )
        return chosen.indices.view(*images.shape, each)

    def _images(self, split: str, concepts: Tensor, keys: Tensor) -> Tensor:
        """The images of each task, (T, K + Q): at random, each one that shows the concept whose turn it is."""
        size, count = self.sampling, concepts.shape[1]
        turns = [*(i % count for i in range(size.shots)), *(i % count for i in range(size.queries))]
        order = rng.bits(rng.fold(keys, _IMAGES), (len(self.maps),))
        sides = None if self.records is None else self._sides(split, self.records, concepts, keys)
        drawn = []
        for place, turn in enumerate(turns):
            chances = torch.where(self.shows[concepts[:, turn]], order, -1)
            if sides is not None:
                chances = torch.where(sides == (place < size.shots), chances, -1)
            most, image = chances.max(1)
            if bool((most < 0).any()):
                short = int(concepts[int((most < 0).nonzero()[0]), turn])
                raise DataError(
                    f"The images of {self.names[short]!r} in the split {split!r} also show other concepts, and were "
                    "taken for these. Add images, or lower the ways, shots or queries."
                )
            order = order.scatter(1, image[:, None], -1)
            drawn.append(image)
        return torch.stack(drawn, 1)

    def _sides(self, split: str, groups: Groups, concepts: Tensor, keys: Tensor) -> Tensor:
        """Which images may be in the support set of each task, (T, n) bool; the others may be asked about."""
        size, count = self.sampling, concepts.shape[1]
        allowed = torch.zeros((len(keys), len(self.maps)), dtype=torch.bool, device=keys.device)
        shown, left = self.shows[concepts], torch.arange(len(keys), device=keys.device)
        for attempt in range(_ATTEMPTS):
            draw = rng.bits(rng.fold(rng.fold(keys[left], _SIDES), attempt), (groups.count,)) & 1
            side = draw.bool()[:, groups.of]
            given, asked = (shown[left] & one[:, None] for one in (side, ~side))
            well = (given.sum(2) >= -(-size.shots // count)).all(1) & (asked.sum(2) >= -(-size.queries // count)).all(1)
            allowed[left[well]] = side[well]
            left = left[~well]
            if not len(left):
                return allowed
        raise DataError(
            f"The images of a task in the split {split!r} are of so few groups that none is left for {size.shots} "
            f"shots on one side and {size.queries} queries on the other. Add images of other groups, or lower both."
        )

    def _labels(self, concepts: Tensor, images: Tensor) -> Tensor:
        """The ids of each pixel in its task, (T, K + Q, height, width)."""
        new = torch.zeros((len(concepts), len(self.names) + 1), dtype=torch.int64, device=concepts.device)
        new.scatter_(1, concepts, torch.arange(1, concepts.shape[1] + 1, device=new.device).expand_as(concepts))
        new[:, IGNORED] = self.ignore
        maps = self.maps[images].long()
        maps = torch.where(maps == IGNORED, len(self.names), maps)
        return new.gather(1, maps.flatten(1)).view_as(maps)


def shown(maps: Tensor, count: int) -> Tensor:
    """Which of `count` classes there are in each map of (n, height, width), (C, n) bool."""
    there = torch.zeros((len(maps), count), dtype=torch.bool, device=maps.device)
    for rows in torch.arange(len(maps), device=maps.device).split(_AT_ONCE):  # type: ignore[no-untyped-call]
        flat = maps[rows].flatten(1).long()
        there[rows] = torch.zeros_like(there[rows]).scatter_(1, flat.clamp(min=0), True)
    there[:, 0] &= (maps == 0).flatten(1).any(1)
    return there.T.contiguous()

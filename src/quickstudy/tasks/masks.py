"""Tasks of segmentation: some images of a few concepts with their masks, and new ones to find the concepts in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, Features, leaves, map_features
from quickstudy.errors import ConfigError, DataError, first_of
from quickstudy.formats.augment import Augment
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.records import Broken, say
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.maps import IGNORED, LabelMaps
from quickstudy.tasks.base import SPLITS, Sampling, Source, presence
from quickstudy.tasks.divide import split_classes
from quickstudy.tasks.pasted import Photographs, photographs_at
from quickstudy.tasks.stored import read

_PLAIN, _SAMPLING = Distortion(), Sampling(ways=2, shots=5, queries=5)
_CONCEPTS, _IMAGES, _SIZES, _AUGMENT, _PASTE, _OTHERS = range(6)
_POSITIVE = (1 << 62) - 1
_IGNORE = 255
_AT_ONCE = 256  # maps


@dataclass(frozen=True, kw_only=True)
class MaskSource(Source):
    """Each task is K images with masks of N − 1 concepts, and Q without; class 0 is all that is none of these.

    x: (n, …) images as the format stores them. maps: (n, height, width) int16, the numbers in `names` of what pixels
    show, 0 for the background and IGNORED. splits: the concepts (S,) of each split, numbers in `names`. Shots and
    queries count images: the first shows the first concept, the second the second, and so on in turn, and no image is
    in a task twice. ignore: the id of pixels that count nowhere. augmentation: of training examples. photographs: what
    images are pasted on, if they are.
    """

    x: Features
    maps: Tensor
    names: tuple[str, ...]
    splits: Mapping[str, Tensor]
    spec: TaskSpec
    sampling: Sampling = _SAMPLING
    seed: int = 0
    ignore: int = _IGNORE
    augmentation: Distortion = _PLAIN
    photographs: Photographs | None = None

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
        x = map_features(lambda t: t.to(device), self.x)
        return replace(self, x=x, maps=self.maps.to(device), splits=splits, photographs=photographs)

    @cached_property
    def shows(self) -> Tensor:
        """Which concepts each image shows, (C, n) bool."""
        return _shown(self.maps, len(self.names))

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
            x, flat = self.spec.format.moved(x, y.flatten(0, 1), drawing, self.augmentation, self.ignore)
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
        order = rng.bits(rng.fold(keys, _OTHERS), (len(self.maps),)) >> 1 & _POSITIVE
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
        order = rng.bits(rng.fold(keys, _IMAGES), (len(self.maps),)) >> 1 & _POSITIVE
        drawn = []
        for turn in turns:
            chances = torch.where(self.shows[concepts[:, turn]], order, -1)
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

    def _labels(self, concepts: Tensor, images: Tensor) -> Tensor:
        """The ids of each pixel in its task, (T, K + Q, height, width)."""
        new = torch.zeros((len(concepts), len(self.names) + 1), dtype=torch.int64, device=concepts.device)
        new.scatter_(1, concepts, torch.arange(1, concepts.shape[1] + 1, device=new.device).expand_as(concepts))
        new[:, IGNORED] = self.ignore
        maps = self.maps[images].long()
        maps = torch.where(maps == IGNORED, len(self.names), maps)
        return new.gather(1, maps.flatten(1)).view_as(maps)


@sources.register("masks", data="images and their masks", places=("root", "photographs"))
def masks(
    *,
    root: str,
    size: int = 64,
    photographs: str = "",
    distractors: int = 0,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
    min_class: int = 0,
    flip: float = 0.0,
    rotate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    translate: float = 0.0,
    elastic: float = 0.0,
) -> MaskSource:
    """Your own masks: images, and for each a picture that says what its pixels show.

    A task is a few images of one concept (or of several: --ways 3) and their masks; all else is background.

    root: a folder with `images` and `masks`, of equal names, and a file classes.txt that names the values of masks; or
        with a sub-folder for each concept, with `images` and `masks` in it, or with images that are transparent where
        the concept is not.
    size: of a side, in pixels, that images and masks are brought to.
    photographs: a folder of pictures that transparent images are pasted on, each at a random place and size.
    distractors: how many others are pasted beside each, as background.
    val, test: shares of the concepts that are held out, at random by `split_seed`.
    split_seed: which these are.
    broken: whether an image or mask that cannot be read stops everything ('refuse') or is left out ('skip').
    min_class: concepts that fewer images show are left out, which is said; their pixels are background.
    flip: share of training images that are mirrored.
    rotate, scale, shear, translate, elastic: distortion of training images, and of their masks; see `Augment`.

    Raises DataError, naming the file, for masks of another size than their image, and for values that have no name.
    """
    format, target = formats.make("image", size=size), targets.make("masks", size=size, ignore=_IGNORE)
    found = format.find_maps(root)
    if found.labels is None:
        raise DataError(f"{root} has no masks.")
    stored = read(format, found, broken).stored
    some = found.chosen(stored.kept)
    maps, kept, left_out = format.maps(some.items, some.labels, broken)
    say([*stored.notices, *([f"{len(left_out)} masks left out: {first_of(left_out)}"] if left_out else [])])
    if not kept:
        raise DataError(f"None of the {format.what} in {root} could be read. Give others.")
    x = map_features(lambda t: t[kept], stored.x)
    paste = None
    if photographs:
        paste = photographs_at(photographs, format, some.chosen(kept), distractors, val, test, split_seed)
    elif distractors:
        raise ConfigError("distractors are pasted on photographs, and there are none. Give --tasks.photographs.")
    return MaskSource(
        x=x,
        maps=maps.ids,
        names=maps.names,
        splits=_splits(maps, root, val, test, split_seed, min_class),
        spec=TaskSpec(format, target),
        augmentation=Augment(rotate, scale, shear, translate, elastic, flip=flip),
        photographs=paste,
    )


def _shown(maps: Tensor, count: int) -> Tensor:
    """Which of `count` classes there are in each map of (n, height, width), (C, n) bool."""
    there = torch.zeros((len(maps), count), dtype=torch.bool, device=maps.device)
    for rows in torch.arange(len(maps), device=maps.device).split(_AT_ONCE):  # type: ignore[no-untyped-call]
        flat = maps[rows].flatten(1).long()
        there[rows] = torch.zeros_like(there[rows]).scatter_(1, flat.clamp(min=0), True)
    there[:, 0] &= (maps == 0).flatten(1).any(1)
    return there.T.contiguous()


def _splits(maps: LabelMaps, root: str, val: float, test: float, seed: int, least: int) -> dict[str, Tensor]:
    """The concepts of each split; those that too few images show are of none."""
    shown = _shown(maps.ids, len(maps.names))
    counts, blank = shown.sum(1), int((~shown[1:].any(0)).sum())
    ids = torch.tensor([i for i in range(1, len(maps.names)) if counts[i] >= max(least, 1)], dtype=torch.int64)
    small = [name for i, name in enumerate(maps.names) if i and counts[i] < max(least, 1)]
    notices = [f"{len(small)} concepts left out, which fewer than {max(least, 1)} images show: {first_of(small)}"]
    notices = (notices if small else []) + ([f"{blank} images show nothing but background."] if blank else [])
    say(notices)
    if not len(ids):
        raise DataError(f"The masks in {root} show nothing but background. Give masks that hold a concept.")
    chosen = split_classes(len(ids), val, test, seed, least=1)
    return {split: ids[chosen[split]] for split in SPLITS}

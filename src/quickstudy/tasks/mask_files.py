"""Tasks of segmentation from files: images and their masks, in any of the layouts that people have."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from quickstudy.episode import map_features
from quickstudy.errors import ConfigError, DataError, first_of
from quickstudy.formats.augment import Augment
from quickstudy.formats.records import Broken, say
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.maps import LabelMaps
from quickstudy.tasks.base import SPLITS
from quickstudy.tasks.divide import split_classes
from quickstudy.tasks.groups import Groups, groups_of
from quickstudy.tasks.masks import IGNORE, MaskSource, shown
from quickstudy.tasks.pasted import photographs_at
from quickstudy.tasks.stored import read, say_doubles


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
    group: str = "",
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
    group: a pattern (a regular expression) in the names of images below `root` that says what belongs together, such as
        the frames of one film: 'film([0-9]+)_'. No group is in both support and query of a task.
    flip: share of training images that are mirrored.
    rotate, scale, shear, translate, elastic: distortion of training images, and of their masks; see `Augment`.

    Raises DataError, naming the file, for masks of another size than their image, and for values that have no name.
    """
    format, target = formats.make("image", size=size), targets.make("masks", size=size, ignore=IGNORE)
    found = format.pixels.find(root)
    if found.labels is None:
        raise DataError(f"{root} has no masks.")
    stored, prints = read(format, found, broken)
    some = found.chosen(stored.kept)
    maps, kept, left_out = format.pixels.maps(some.items, some.labels, broken)
    say([*stored.notices, *([f"{len(left_out)} masks left out: {first_of(left_out)}"] if left_out else [])])
    if not kept:
        raise DataError(f"None of the {format.what} in {root} could be read. Give others.")
    x, members = map_features(lambda t: t[kept], stored.x), groups_of(found._replace(groups=None), root, group)
    used = some.chosen(kept)
    say_doubles(prints[kept], [Path(root).name] * len(kept), used.names, format.what)
    paste = None
    if photographs:
        paste = photographs_at(photographs, format, used, distractors, val, test, split_seed)
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
        records=_groups([members[stored.kept[i]] for i in kept]) if members else None,
    )


def _groups(names: list[str]) -> Groups:
    return Groups.named(names, torch.arange(len(names)), "apart")


def _splits(maps: LabelMaps, root: str, val: float, test: float, seed: int, least: int) -> dict[str, Tensor]:
    """The concepts of each split; those that too few images show are of none."""
    there = shown(maps.ids, len(maps.names))
    counts, blank = there.sum(1), int((~there[1:].any(0)).sum())
    ids = torch.tensor([i for i in range(1, len(maps.names)) if counts[i] >= max(least, 1)], dtype=torch.int64)
    small = [name for i, name in enumerate(maps.names) if i and counts[i] < max(least, 1)]
    notices = [f"{len(small)} concepts left out, which fewer than {max(least, 1)} images show: {first_of(small)}"]
    notices = (notices if small else []) + ([f"{blank} images show nothing but background."] if blank else [])
    say(notices)
    if not len(ids):
        raise DataError(f"The masks in {root} show nothing but background. Give masks that hold a concept.")
    chosen = split_classes(len(ids), val, test, seed, least=1)
    return {split: ids[chosen[split]] for split in SPLITS}

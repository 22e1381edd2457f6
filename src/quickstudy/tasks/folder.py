"""Tasks from a folder of images, one sub-folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from quickstudy.episode import joined
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.augment import Augment
from quickstudy.formats.base import Format
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.records import Broken, Records, say
from quickstudy.registry import formats, sources, targets
from quickstudy.targets.base import Target
from quickstudy.tasks.arrays import class_source
from quickstudy.tasks.base import SPLITS
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.divide import split_classes


@sources.register("folder", data="a folder of images")
def folder(
    *,
    root: str,
    size: int = 64,
    channels: Literal[1, 3] = 3,
    invert: bool = False,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
    symmetries: int = 1,
    rotate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    translate: float = 0.0,
    elastic: float = 0.0,
    thickness: float = 0.0,
) -> ClassSource:
    """Your own images: a folder with one sub-folder for each class.

    Images become (channels, size, size) in [0, 1]: the longer side is brought to `size`, the rest of the square filled
    with the colour of the image's border. What was converted or left out is said once, through logging.

    root: the folder. If it has a sub-folder 'train', then 'train', 'val' and 'test' hold the classes of the splits, and
        a split that is missing is cut from the training classes; otherwise all splits are.
    size: of a side, in pixels.
    invert: for dark ink on light paper, so that ink is 1 on 0. channels: 3 for colour, 1 for grey.
    val, test: shares of the classes that are held out, at random by `split_seed`.
    split_seed: which classes these are.
    broken: whether an image that cannot be read stops everything ('refuse') or is left out ('skip').
    symmetries: 4 adds turned images as training classes of their own, 8 mirrored ones too.
    rotate, scale, shear, translate, elastic, thickness: distortion of training images; see `Augment` for the units.

    Raises DataError, naming file or class, for broken images, empty folders and too few classes.
    """
    format = formats.make("image", size=size, channels=channels, invert=invert)
    augmentation = Augment(rotate, scale, shear, translate, elastic, thickness)
    return class_folders_source(format, root, val, test, split_seed, broken, symmetries, augmentation)


def class_folders_source(
    format: Format,
    root: str,
    val: float,
    test: float,
    split_seed: int,
    broken: Broken,
    symmetries: int = 1,
    augmentation: Distortion | None = None,
    target: Target | None = None,
) -> ClassSource:
    """Classes of records of any format that lie at one place, or in its sub-folders 'train', 'val' and 'test'.

    target: what is asked of them; classes if not given.
    """
    target = target or targets.make("classes")
    if broken not in ("refuse", "skip"):
        raise ConfigError(f"broken must be 'refuse' or 'skip', found {broken!r}.")
    named = [s for s in SPLITS if (Path(root) / s).is_dir()] if (Path(root) / "train").is_dir() else []
    places = {split: Path(root, split) for split in named} or {"train": Path(root)}
    records = {split: format.find(place) for split, place in places.items()}
    stored = {split: format.store(part.items, broken) for split, part in records.items()}
    kept = {split: _labels(records[split], part.kept) for split, part in stored.items()}
    for part in stored.values():
        say(part.notices)
    for split, labels in kept.items():
        gone = sorted(set(_labels(records[split])) - set(labels))
        if gone:
            raise DataError(f"The class {gone[0]!r} of {places[split]} holds no readable {format.what}. Remove it.")
    encoded = {split: target.encode(labels) for split, labels in kept.items()}
    first = _starts({split: names for split, (_, names) in encoded.items()})
    rest = split_classes(
        len(encoded["train"][1]), 0.0 if "val" in named else val, 0.0 if "test" in named else test, split_seed
    )
    together = stored["train"].x
    for split in named[1:]:
        together = joined(together, stored[split].x)
    return class_source(
        format.fitting(together, records["train"].items),
        together,
        torch.cat([ids + first[split] for split, (ids, _) in encoded.items()]),
        [name for _, names in encoded.values() for name in names],
        rest | {s: first[s] + torch.arange(len(names)) for s, (_, names) in encoded.items() if s != "train"},
        symmetries=symmetries,
        augmentation=augmentation or Distortion(),
        target=target,
    )


def _labels(records: Records, kept: list[int] | None = None) -> list[str]:
    if records.labels is None:
        raise ConfigError("These records have no labels, so that they are of no classes. Choose another source.")
    return list(records.labels) if kept is None else [records.labels[i] for i in kept]


def _starts(parts: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """The number of the first class of each split; refuses a class that is in two."""
    starts: dict[str, int] = {}
    seen: dict[str, str] = {}
    total = 0
    for split, names in parts.items():
        for name in names:
            if name in seen:
                raise DataError(
                    f"The class {name!r} is in both {seen[name]!r} and {split!r}, but held-out classes must be new "
                    "ones. Give 'root' one folder with all classes in it, and they are split for you."
                )
            seen[name] = split
        starts[split] = total
        total += len(names)
    return starts

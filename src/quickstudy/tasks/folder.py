"""Tasks from a folder of images, one sub-folder a class."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import torch

from quickstudy.episode import ImageFormat
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import sources
from quickstudy.tasks.arrays import class_source, split_classes
from quickstudy.tasks.augment import Augment
from quickstudy.tasks.base import SPLITS
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.images import ImageFolder, read_folder

_log = logging.getLogger("quickstudy")


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
    broken: Literal["refuse", "skip"] = "refuse",
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
    size: side of the square in pixels. channels: 3 for colour, 1 for grey.
    invert: for dark ink on light paper, so that ink is 1 on 0.
    val, test: shares of the classes that are held out, at random by `split_seed`. split_seed: of the random choice.
    broken: whether an image that cannot be read stops everything ('refuse') or is left out ('skip').
    symmetries: 4 adds turned images as training classes of their own, 8 mirrored ones too.
    rotate, scale, shear, translate, elastic, thickness: distortion of training images; see `Augment` for the units.

    Raises DataError, naming file or class, for broken images, empty folders and too few classes.
    """
    if size < 1 or channels not in (1, 3):
        raise ConfigError(f"size must be at least 1 and channels 1 or 3, found size={size} and channels={channels}.")
    if broken not in ("refuse", "skip"):
        raise ConfigError(f"broken must be 'refuse' or 'skip', found {broken!r}.")
    format = ImageFormat(size, channels, invert)
    named = [s for s in SPLITS if (Path(root) / s).is_dir()] if (Path(root) / "train").is_dir() else []
    parts = {s: read_folder(Path(root, s), format, broken, _notify) for s in named}
    if not parts:
        parts = {"train": read_folder(root, format, broken, _notify)}
    first = _starts(parts)
    rest = split_classes(
        len(parts["train"].names), 0.0 if "val" in parts else val, 0.0 if "test" in parts else test, split_seed
    )
    return class_source(
        torch.cat([part.x for part in parts.values()]),
        torch.cat([part.labels + first[split] for split, part in parts.items()]),
        [name for part in parts.values() for name in part.names],
        rest | {s: first[s] + torch.arange(len(parts[s].names)) for s in parts if s != "train"},
        image=format,
        symmetries=symmetries,
        augmentation=Augment(rotate, scale, shear, translate, elastic, thickness),
    )


def _notify(notice: str) -> None:
    (_log.warning if "left out" in notice else _log.info)(notice)


def _starts(parts: dict[str, ImageFolder]) -> dict[str, int]:
    """The number of the first class of each split; refuses a class that is in two."""
    starts: dict[str, int] = {}
    seen: dict[str, str] = {}
    total = 0
    for split, part in parts.items():
        for name in part.names:
            if name in seen:
                raise DataError(
                    f"The class {name!r} is in both {seen[name]!r} and {split!r}, but held-out classes must be new "
                    "ones. Give 'root' one folder with all classes in it, and they are split for you."
                )
            seen[name] = split
        starts[split] = total
        total += len(part.names)
    return starts

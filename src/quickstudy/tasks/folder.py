"""Tasks from a folder of images, one sub-folder a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from quickstudy.episode import joined
from quickstudy.errors import ConfigError, DataError, first_of
from quickstudy.formats.augment import Augment
from quickstudy.formats.base import Format
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.places import column
from quickstudy.formats.records import Broken, Records, Stored, say
from quickstudy.formats.rows import holds_rows, read_rows
from quickstudy.registry import formats, sources, targets
from quickstudy.targets.base import Target
from quickstudy.tasks.arrays import class_source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.divide import named_splits, split_classes, split_places
from quickstudy.tasks.groups import Rule, groups_of
from quickstudy.tasks.stored import read, say_alike, say_doubles


@sources.register("folder", data="a folder of images", places=("root",))
def folder(
    *,
    root: str,
    size: int = 64,
    channels: Literal[1, 3] = 3,
    invert: bool = False,
    background: Literal["white", "black"] = "white",
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
    min_class: int = 0,
    group: str = "",
    groups: Rule = "apart",
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
    background: what transparent images are laid over.
    val, test: shares of the classes that are held out, at random by `split_seed`.
    split_seed: which classes these are.
    broken: whether an image that cannot be read stops everything ('refuse') or is left out ('skip').
    min_class: classes with fewer images are left out, which is said.
    group: a pattern (a regular expression) in the names of files below `root` that says what belongs together, such as
        a session or a writer: 'track([0-9]+)_'. groups: whether no group is in both support and query of a task
        ('apart'), or each task is of one group ('within').
    symmetries: 4 adds turned images as training classes of their own, 8 mirrored ones too.
    rotate, scale, shear, translate, elastic, thickness: distortion of training images; see `Augment` for the units.

    Raises DataError, naming file or class, for broken images, empty folders and too few classes.
    """
    format = formats.make("image", size=size, channels=channels, invert=invert, background=background)
    augmentation = Augment(rotate, scale, shear, translate, elastic, thickness)
    return class_folders_source(
        format, root, val, test, split_seed, broken, symmetries, augmentation,
        min_class=min_class, group=group, groups=groups,
    )  # fmt: skip


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
    splits: Mapping[str, Sequence[str]] | None = None,
    *,
    min_class: int = 0,
    group: str = "",
    groups: Rule = "apart",
) -> ClassSource:
    """Classes of records of any format that lie at one place, or in its parts 'train', 'val' and 'test', see
    `split_places`.

    target: what is asked of them; classes if not given. splits: the labels of each split, of records at one place.
    min_class, group, groups: see `folder`; records that say themselves which group they are of need no pattern.
    """
    target = target or targets.make("classes")
    format, places, records, rest = learned(format, root, val, test, split_seed, broken, target, splits, min_class)
    found = {split: read(format, part, broken) for split, part in records.items()}
    stored = {split: part.stored for split, part in found.items()}
    kept = {split: labels_of(records[split], part.kept) for split, part in stored.items()}
    for part in stored.values():
        say(part.notices)
    for split, some in kept.items():
        gone = sorted(set(labels_of(records[split])) - set(some))
        if gone:
            raise DataError(f"The class {gone[0]!r} of {places[split]} holds no readable {format.what}. Remove it.")
    names = [records[split].names[i] for split, part in stored.items() for i in part.kept]
    labels = [label for part in kept.values() for label in part]
    say_doubles(torch.cat([part.prints for part in found.values()]), labels, names, format.what)
    members = {split: groups_of(part, root, group) for split, part in records.items()}
    say_alike(labels)
    encoded = {split: target.encode(some) for split, some in kept.items()}
    first = starts_of({split: names for split, (_, names) in encoded.items()})
    together = stored["train"].x
    for split in [s for s in places if s != "train"]:
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
        groups=_together(members, stored, names, groups),
        rule=groups,
    )


def _together(
    members: Mapping[str, list[str] | None], stored: Mapping[str, Stored], names: Sequence[str], rule: Rule
) -> list[str] | None:
    """The groups of all records that were kept, in their order; None if they have none."""
    if all(part is None for part in members.values()):
        return None
    groups = [part[i] if part else "" for split, part in members.items() for i in stored[split].kept]
    unknown = [name for name, group in zip(names, groups, strict=True) if not group]
    if unknown:
        say([f"The groups of {len(unknown)} of {len(names)} records are not known, the first of {unknown[0]}."])
    return groups


def _of_some(records: Records, least: int) -> Records:
    """The records of classes that have at least so many; the others are left out, which is said."""
    counts = Counter(labels_of(records))
    small = sorted(name for name, count in counts.items() if count < least)
    if not small:
        return records
    say([f"{len(small)} of {len(counts)} classes left out, which have fewer than {least} records: {first_of(small)}"])
    return records.chosen([i for i, name in enumerate(labels_of(records)) if counts[name] >= least])


def learned(
    format: Format,
    root: str,
    val: float,
    test: float,
    split_seed: int,
    broken: Broken,
    target: Target,
    splits: Mapping[str, Sequence[str]] | None = None,
    min_class: int = 0,
) -> tuple[Format, dict[str, Path], dict[str, Records], dict[str, Tensor]]:
    """The format with what the training classes alone teach it, and for each split its place and records.

    And the classes of the records at 'train', by their numbers, that are of each split. Arguments are those of
    `class_folders_source`.
    """
    if broken not in ("refuse", "skip"):
        raise ConfigError(f"broken must be 'refuse' or 'skip', found {broken!r}.")
    places = split_places(root, format.row_files)
    own = set() if places["train"] == Path(root) else set(places)
    if own and splits is not None:
        raise ConfigError(f"The parts of {root} are the splits, so that 'splits' says nothing. Leave it out.")
    records = {split: _of_some(format.find(place), min_class) for split, place in places.items()}
    labels = labels_of(records["train"])
    ids, names = target.encode(labels)
    if splits is None:
        rest = split_classes(len(names), 0.0 if "val" in own else val, 0.0 if "test" in own else test, split_seed)
    else:
        rest = named_splits(splits, names)
    if format.learns:
        seen = torch.isin(ids, rest["train"]).tolist()
        format = format.learn(list(compress(records["train"].items, seen)), broken)
    return format, places, records, rest


def column_or_pattern(root: str, suffixes: Sequence[str], group: str) -> tuple[str, str]:
    """What says which group records belong to: where they are rows, a column, and of files a pattern in their names."""
    rows = [place for place in split_places(root, suffixes).values() if holds_rows(place)]
    for place in rows if group else ():
        column(read_rows(place).columns, group, place, "--tasks.group")
    return (group, "") if rows else ("", group)


def labels_of(records: Records, kept: list[int] | None = None) -> list[str]:
    if records.labels is None:
        raise ConfigError("These records have no labels, so that they are of no classes. Choose another source.")
    return list(records.labels) if kept is None else [records.labels[i] for i in kept]


def starts_of(parts: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """The number of the first class of each split; refuses a class that is in two."""
    starts: dict[str, int] = {}
    seen: dict[str, str] = {}
    total = 0
    for split, names in parts.items():
        for name in names:
            if name in seen:
                raise DataError(
                    f"The class {name!r} is in both {seen[name]!r} and {split!r}, but held-out classes must be new "
                    "ones. Give one folder or file with all classes in it, that of 'train' alone for instance, and "
                    "they are split for you."
                )
            seen[name] = split
        starts[split] = total
        total += len(names)
    return starts

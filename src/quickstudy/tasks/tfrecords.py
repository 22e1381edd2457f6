"""Meta-Dataset's own files: a domain's classes, one file of records each, and a description of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from quickstudy.episode import map_features
from quickstudy.errors import DataError
from quickstudy.formats.base import Format
from quickstudy.formats.records import Broken, Stored, say
from quickstudy.formats.tfrecord import example, records
from quickstudy.registry import formats, sources
from quickstudy.storage.json import read_json
from quickstudy.tasks.arrays import class_source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.divide import split_classes
from quickstudy.tasks.pool import TensorPool

_SPEC, _SUFFIX, _IMAGE = "dataset_spec.json", ".tfrecords", "image"
_CALLED = {"train": "TRAIN", "val": "VALID", "test": "TEST"}
_REMEDY = "Take the one that Meta-Dataset's conversion wrote beside the records."


@sources.register("tfrecords", data="a domain of Meta-Dataset", places=("root",))
def tfrecords(
    *,
    root: str,
    size: int = 84,
    channels: Literal[1, 3] = 3,
    within: bool = False,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
) -> ClassSource:
    """A domain of Meta-Dataset, in the files that its conversion writes.

    See Triantafillou et al. 2020. They are read without TensorFlow; every checksum is looked at.

    root: the folder of the domain: 'N.tfrecords', or 'N_SHARD.tfrecords', for each class N, and dataset_spec.json,
        which names the classes and their splits.
    size: of a side, in pixels. channels: 3 for colour, 1 for grey.
    within: all classes of a task are of one superclass, such as an alphabet, where there are such.
    val, test: shares of the classes that are held out, at random by `split_seed`, where there is no dataset_spec.json.
    split_seed: which these are.
    broken: whether an image that cannot be read stops everything ('refuse') or is left out ('skip').

    Raises DataError, naming file and record, for what is damaged.
    """
    format: Format = formats.make("image", size=size, channels=channels)
    files = _files(Path(root))
    said = read_json(Path(root, _SPEC), dict[str, Any], _REMEDY) if Path(root, _SPEC).exists() else {}
    names = [str(said.get("class_names", {}).get(str(number), number)) for number in files]
    names = [f"{name} ({number})" if names.count(name) > 1 else name for name, number in zip(names, files, strict=True)]
    parts = [_stored(format, of, broken) for of in files.values()]
    if empty := [name for name, part in zip(names, parts, strict=True) if not part.kept]:
        raise DataError(f"The class {empty[0]!r} of {root} holds no readable images. Remove its file.")
    x = map_features(lambda *t: torch.cat(t), *(part.x for part in parts))
    labels = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(part.kept) for part in parts]))
    chosen = _splits(said, list(files), root) if said else split_classes(len(files), val, test, split_seed)
    source = class_source(format, x, labels, names, chosen)
    above = _superclasses(said, list(files)) if said else None
    if within and above is None:
        raise DataError(f"{root} names no superclasses ({_SPEC}), so that tasks cannot be within one. Leave it out.")
    if above is None:
        return source
    return replace(source, within=within, pool=TensorPool.from_labels(format, x, labels, names, above))


def _files(root: Path) -> dict[int, list[Path]]:
    """The files of each class, by its number."""
    found: dict[int, list[Path]] = {}
    if not root.is_dir():
        raise DataError(f"There is no folder {root}. Give the folder of one domain, with its {_SUFFIX} files.")
    for path in sorted(root.glob(f"*{_SUFFIX}")):
        number = path.name.removesuffix(_SUFFIX).split("_")[0]
        if not number.isdecimal():
            raise DataError(
                f"{path} is not called after the number of a class, as '7{_SUFFIX}' is. Rename or remove it."
            )
        found.setdefault(int(number), []).append(path)
    if len(found) < 2:
        classes = f"one class only, {next(iter(found))}" if found else f"no {_SUFFIX} files"
        raise DataError(f"{root} has {classes}; telling classes apart needs two. Give the folder of one domain.")
    return dict(sorted(found.items()))


def _stored(format: Format, files: Iterable[Path], broken: Broken) -> Stored:
    """All images of one class."""
    images = []
    for path in files:
        for number, record in enumerate(records(path)):
            name = f"Record {number} of {path}"
            image = example(record, name).get(_IMAGE, [])
            if len(image) != 1 or not isinstance(image[0], bytes):
                raise DataError(f"{name} has no feature {_IMAGE!r} of bytes. Give records as Meta-Dataset writes them.")
            images.append(image[0])
    stored = format.store(images, broken)
    say([notice for notice in stored.notices if "left out" in notice])
    return stored


def _splits(said: Mapping[str, Any], numbers: list[int], root: str) -> dict[str, torch.Tensor]:
    """The positions of the classes of each split: their numbers go on from one split to the next."""
    place = {number: i for i, number in enumerate(numbers)}
    sizes = _sizes(said, root)
    found, first = {}, 0
    for split in _CALLED:
        ids = range(first, first + sizes[split])
        if missing := [number for number in ids if number not in place]:
            raise DataError(f"{root} lacks the file of class {missing[0]}, which {_SPEC} names. Copy it, too.")
        found[split] = torch.tensor([place[number] for number in ids], dtype=torch.int64)
        first += sizes[split]
    return found if len(found["val"]) else found | {"val": found["train"]}


def _sizes(said: Mapping[str, Any], root: str) -> dict[str, int]:
    """How many classes each split has."""
    flat, above = said.get("classes_per_split"), said.get("superclasses_per_split")
    try:
        if isinstance(flat, Mapping):
            return {split: int(flat.get(name, 0)) for split, name in _CALLED.items()}
        assert isinstance(above, Mapping)
        each, sizes, first = said["classes_per_superclass"], {}, 0
        for split, name in _CALLED.items():
            last = first + int(above.get(name, 0))
            sizes[split], first = sum(int(each[str(i)]) for i in range(first, last)), last
        return sizes
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{Path(root, _SPEC)} says neither how many classes nor how many superclasses each split has. Remove it to "
            "split classes at random, or sort them into folders: ImageNet's splits are parts of a graph."
        ) from error


def _superclasses(said: Mapping[str, Any], numbers: list[int]) -> list[str] | None:
    """The superclass of each class; None where there are none."""
    each = said.get("classes_per_superclass")
    if not isinstance(each, Mapping):
        return None
    called = said.get("superclass_names", {})
    flat = [str(called.get(str(i), i)) for i in range(len(each)) for _ in range(int(each[str(i)]))]
    return [flat[number] for number in numbers]

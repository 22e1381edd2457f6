"""Which classes a run was trained on, stored with it, so that held-out classes stay held out when the data grow.

Classes are split by their number and order, so that a class added later can move others from one split to another.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from quickstudy.errors import DataError
from quickstudy.storage.json import read_json, write_json
from quickstudy.tasks.base import SPLITS, Source

NAME = "splits.json"
_LARGEST = 1 << 26  # bytes: a million names
ON_TRAINING_CLASSES = "on training classes"  # what figures of validation say where it is not held out
_REMEDY = (
    "The data have changed since training. Take the new classes out again, or fix what each class is for: with "
    "sub-folders train, val and test, or the argument splits of arrays"
)


class _Names(TypedDict):
    """The classes of each split."""

    train: list[str]
    val: list[str]
    test: list[str]


def store(folder: Path, source: Source) -> None:
    """Write the class names of each split; nothing for sources that make up their tasks."""
    names = {split: source.classes(split) for split in SPLITS}
    if any(names.values()):
        write_json(folder / NAME, names)


def _read(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = read_json(folder / NAME, _Names, largest=_LARGEST)
    return names


def check(folder: Path, source: Source) -> None:
    """Raise DataError, naming a class, if one that is held out today was trained on by the run in `folder`."""
    if not (folder / NAME).exists():
        return
    then = _read(folder)
    for split in ("val", "test"):
        leaked = sorted(set(source.classes(split)) & set(then["train"]) - set(then[split]))
        if leaked:
            raise DataError(
                f"The class {leaked[0]!r} is in {split!r} today, but the run {folder} was trained on it "
                f"({len(leaked)} such classes): results would look better than they are. {_REMEDY}; then train anew."
            )


def check_unchanged(folder: Path, source: Source) -> None:
    """Raise DataError, naming a class, if the training classes are not those that the run in `folder` began with."""
    if not (folder / NAME).exists():
        return
    changed = sorted(set(_read(folder)["train"]) ^ set(source.classes("train")))
    if changed:
        raise DataError(
            f"The training classes are not those that the run {folder} began with: {changed[0]!r} was added or is "
            f"gone ({len(changed)} such classes). {_REMEDY}."
        )

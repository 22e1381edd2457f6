"""Which classes, or data sets, are for training, validation and test."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.records import say
from quickstudy.formats.rows import holds_rows
from quickstudy.storage.json import fitting, read_json
from quickstudy.tasks.base import SPLITS

OTHERS_VAL = ("valid", "validation", "dev")
"""What others call the split 'val'."""
_REMEDY = "Name the labels of each split, as lists."
_CALLED = {"train": ("train",), "val": ("val", *OTHERS_VAL), "test": ("test",)}


def split_classes(
    classes: int, val: float, test: float, seed: int, least: int = 2, what: str = "classes"
) -> dict[str, Tensor]:
    """Class ids (C,) of each split, at random. A share above 0 gives at least `least` of them, a share of 0 none.

    what: they are, if not classes.

    Where none are held out for validation, 'val' is 'train': it is then known that validation says nothing.
    """
    for name, share in (("val", val), ("test", test)):
        if not 0.0 <= share < 1.0:
            raise ConfigError(f"The share {name} must lie in [0, 1), found {share}.")
    sizes = {name: max(least, round(classes * share)) if share else 0 for name, share in (("val", val), ("test", test))}
    rest = classes - sizes["val"] - sizes["test"]
    if rest < least:
        ways = f" --ways {classes - 1} --train-ways {classes - 1}" if least > 1 and classes > 2 else ""
        raise DataError(
            f"{classes} {what} cannot be split: val takes {sizes['val']} and test {sizes['test']}, which leaves "
            f"{max(rest, 0)} to train on. Add {what}, lower the shares val and test, or name the splits. With few, "
            f"train on all, though nothing tells then how well others are learned: --tasks.val 0 --tasks.test 0{ways}."
        )
    order = rng.permutation(rng.key(seed, "split"), classes)
    parts = order.tensor_split([rest, rest + sizes["val"]])
    return _validated({split: ids.sort().values for split, ids in zip(SPLITS, parts, strict=True)})


def _validated(splits: dict[str, Tensor]) -> dict[str, Tensor]:
    return splits if len(splits["val"]) else splits | {"val": splits["train"]}


def split_places(root: str | Path, suffixes: Sequence[str] = ()) -> dict[str, Path]:
    """Where the records of each split lie: in `root`, in folders, or files, that are called 'train', 'val' and 'test'.

    Where nothing is called 'train', all records lie at `root` itself, as 'train'. 'val' may be called 'valid',
    'validation' or 'dev'. A folder 'train' that holds files alone, beside classes, is the class of that name. suffixes:
    of files that hold many records each.
    """
    found = named_places(root, suffixes)
    if "train" not in found or _is_class(found["train"], Path(root)):
        return {"train": Path(root)}
    return found


def _is_class(folder: Path, root: Path) -> bool:
    """Whether a folder that is called as a split is a class: it holds files alone, and other folders are beside it."""
    if not folder.is_dir() or holds_rows(folder) or any(path.is_dir() for path in _seen(folder)):
        return False
    parts = {name for names in _CALLED.values() for name in names}
    if all(path.name in parts for path in _seen(root) if path.is_dir()):
        return False
    say([f"{folder} holds files alone, beside folders of classes: it is read as the class {folder.name!r}."])
    return True


def _seen(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def named_places(root: str | Path, suffixes: Sequence[str] = ()) -> dict[str, Path]:
    """What in `root` is called as a split is; see `split_places`. Raises DataError where two are called alike."""
    found: dict[str, Path] = {}
    for split, names in _CALLED.items():
        places = [path for name in names for end in ("", *suffixes) if _is_part(path := Path(root, name + end), end)]
        if len(places) > 1:
            raise DataError(
                f"{root} has {' and '.join(path.name for path in places)}, and either could be the split {split!r}. "
                "Keep one of them there."
            )
        if places:
            found[split] = places[0]
    return found


def _is_part(path: Path, suffix: str) -> bool:
    return path.is_file() if suffix else path.is_dir()


def named_splits(splits: Mapping[str, Sequence[Hashable]], names: Sequence[str]) -> dict[str, Tensor]:
    """Class ids (C,) of each split, from the labels that the user names for it; `names`: of all classes, by id."""
    unknown = set(splits) - set(SPLITS)
    if unknown or "train" not in splits:
        raise ConfigError(f"splits must name the labels of 'train', 'val' and 'test', found {sorted(splits)}.")
    number = {name: i for i, name in enumerate(names)}
    seen: dict[str, str] = {}
    for split, labels in splits.items():
        for label in map(str, labels):
            if label not in number:
                raise DataError(
                    f"splits[{split!r}] names the class {label!r}, which no example has. Check its spelling."
                )
            if label in seen:
                raise DataError(
                    f"splits names the class {label!r} twice, in {seen[label]!r} and {split!r}: a class that was "
                    "trained on says nothing about learning new ones. Name it once."
                )
            seen[label] = split
    return _validated(
        {s: torch.tensor([number[str(label)] for label in splits.get(s, ())], dtype=torch.int64) for s in SPLITS}
    )


def named_in(path: str) -> dict[str, list[str]] | None:
    """The labels of each split that a JSON file names, by our names of the splits; None where there is no file."""
    if not path:
        return None
    if not Path(path).is_file():
        raise ConfigError(f"There is no file {path} that names the splits. Check the path.")
    said: dict[str, Any] = read_json(Path(path), dict[str, Any], _REMEDY)
    named = {"val" if name in OTHERS_VAL else name: labels for name, labels in said.items()}
    others = sorted(named.keys() - set(SPLITS))
    say([f"{path} also names {', '.join(map(repr, others))}, which are no splits: left out."] if others else [])
    chosen: dict[str, list[str]] = {name: named[name] for name in SPLITS if name in named}
    return fitting(chosen, dict[str, list[str]], path, _REMEDY)  # type: ignore[no-any-return]

"""Records that were read once, kept in the user's cache folder as files that are mapped into memory."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypedDict
from uuid import uuid4

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, leaves, named, of_names
from quickstudy.errors import QuickstudyError
from quickstudy.files import cache_folder
from quickstudy.formats.base import Format
from quickstudy.formats.reading import placing
from quickstudy.formats.records import Broken, Records, Stored
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.tensors import checksum

_VERSION = 2  # of how quickstudy's own formats read files
_MANY, _LARGE = 1000, 20_000_000  # files, or bytes of them, from which on it takes long to read them
_UNUSED = 60 * 86400.0  # seconds after which what was not used is removed
_ROWS = 4096
_FACTS, _PRINTS = "facts.json", "prints"
_log = logging.getLogger("quickstudy")


class Read(NamedTuple):
    """Stored records, and a fingerprint (n,) int64 of each: equal records have equal ones."""

    stored: Stored
    prints: Tensor


class _Leaf(TypedDict):
    name: str
    dtype: str
    shape: list[int]


class _Facts(TypedDict):
    """What was stored, but for the tensors."""

    leaves: list[_Leaf]
    kept: list[int]
    notices: list[str]


def read(format: Format, records: Records, broken: Broken) -> Read:
    """What `format.store` makes of records; of many files, or large ones, from the cache if they were read before.

    The cache is found by the files' names, sizes and times, and by the format. It holds pools larger than memory: while
    files are read, and ever after, they are on disk, mapped into memory. A format of the user's own is not cached, as
    its code may change.
    """
    name = _key(format, records.items, broken)
    if name is None:
        stored = format.store(records.items, broken)
        return Read(stored, prints(stored.x))
    folder = cache_folder("records", name)
    known = _from_disk(folder)
    return _to_disk(folder, format, records, broken) if known is None else known


def say_doubles(prints: Tensor, labels: Sequence[str], names: Sequence[str], what: str) -> None:
    """Name, in a warning, records that are equal and of two classes: nothing can tell them apart; and equal ones of one
    class: a task may ask about what it has shown.

    labels: of the records, or what else tells which of them are in a task together.
    """
    again, _ = _equal(prints, labels)
    if again:
        one, other = again[0]
        _log.warning(
            "%d %s are equal to another that may be in the same task, such as %s and %s (%s): what is asked about was "
            "shown, then, and figures look better than they are. Take out what is a copy.",
            len(again), what, names[one], names[other], labels[one],
        )  # fmt: skip
    say_contrary(prints, labels, names, what)


def say_contrary(prints: Tensor, labels: Sequence[str], names: Sequence[str], what: str) -> None:
    """Name, in a warning, records that are equal and of two classes."""
    _, doubles = _equal(prints, labels)
    if doubles:
        one, other = doubles[0]
        _log.warning(
            "%d %s are equal to one of another class, such as %s (%s) and %s (%s): nothing can tell them apart.",
            len(doubles), what, names[one], labels[one], names[other], labels[other],
        )  # fmt: skip


def _equal(prints: Tensor, labels: Sequence[str]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of equal records: of one class, and of two; each with the first that is like it."""
    _, which, counts = prints.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    first: dict[int, int] = {}
    again: list[tuple[int, int]] = []
    doubles: list[tuple[int, int]] = []
    for i in (counts[which] > 1).nonzero().flatten().tolist():
        other = first.setdefault(int(which[i]), i)
        if other != i:
            (again if labels[other] == labels[i] else doubles).append((other, i))
    return again, doubles


def say_alike(labels: Sequence[str]) -> None:
    """Name, in a warning, classes whose names differ in upper and lower case or spaces alone, as they may be one; and
    count labels that are blank, as they may be missing."""
    if blank := sum(not label.strip() for label in labels):
        _log.warning("%d labels are blank, and taken for the name of a class. Fill them, or drop what has none.", blank)
    first: dict[str, str] = {}
    alike = [
        (other, n) for n in sorted(set(labels)) if (other := first.setdefault("".join(n.casefold().split()), n)) != n
    ]
    if alike:
        _log.warning(
            "%d classes have the name of another but for upper and lower case or spaces, such as %r and %r: they are "
            "told apart, as two classes. Write them alike, if they are one.",
            len(alike), *alike[0],
        )  # fmt: skip


def prints(x: Features) -> Tensor:
    """A fingerprint (n,) int64 of each example of compact tensors (n, …)."""
    total: Tensor | None = None
    for number, leaf in enumerate(leaves(x)):
        rows = leaf.detach().cpu().reshape(len(leaf), -1)
        length = rows.shape[1] * rows.element_size()
        weights = rng.bits(rng.key(0, "prints", number), (-(-length // 8),)) | 1
        parts = [_words(part) @ weights for part in torch.split(rows, _ROWS)] or [torch.zeros(0, dtype=torch.int64)]
        own = torch.cat(parts)
        total = own if total is None else total * 31 + own
    assert total is not None
    return total


def _words(rows: Tensor) -> Tensor:
    """The bytes of rows (n, d) as int64 (n, ⌈bytes / 8⌉)."""
    data = rows.contiguous().view(torch.uint8).reshape(len(rows), -1)
    short = -data.shape[1] % 8
    return torch.nn.functional.pad(data, (0, short)).view(torch.int64)


def _key(format: Format, items: Sequence[Any], broken: Broken) -> str | None:
    """The name under which these records are kept; None for those that are read again each time."""
    own = type(format).__module__.partition(".")[0] == __name__.partition(".")[0]
    if not own or not items or not all(isinstance(item, Path) for item in items):
        return None
    try:
        states = [os.stat(item) for item in items]
    except OSError:
        return None
    if len(items) < _MANY and sum(state.st_size for state in states) < _LARGE:
        return None
    files = [f"{os.path.abspath(i)}\0{s.st_size}\0{s.st_mtime_ns}" for i, s in zip(items, states, strict=True)]
    every = json.dumps([_VERSION, type(format).__name__, asdict(format), broken], sort_keys=True)  # type: ignore[call-overload]
    return checksum(os.fsencode("\n".join(files)), every)[:32]


def _from_disk(folder: Path) -> Read | None:
    if not (folder / _FACTS).exists():
        return None
    try:
        facts: _Facts = read_json(folder / _FACTS, _Facts, largest=1 << 30)
        tensors = {leaf["name"]: _mapped(folder, leaf) for leaf in facts["leaves"]}
        os.utime(folder / _FACTS)
    except (QuickstudyError, OSError, ValueError) as error:
        _log.warning("What was kept in %s cannot be used (%s): the files are read again.", folder, error)
        return None
    found = tensors.pop(_PRINTS)
    x = of_names({name.removeprefix("x"): tensor for name, tensor in tensors.items()})
    return Read(Stored(x, facts["kept"], facts["notices"]), found)


def _mapped(folder: Path, leaf: _Leaf) -> Tensor:
    """A tensor that lies in a file; changes to it are not written."""
    path, kind, size = folder / f"{leaf['name']}.bin", getattr(torch, leaf["dtype"]), prod(leaf["shape"])
    if os.stat(path).st_size < size * kind.itemsize:
        raise ValueError(f"{path.name} is too short")
    if not size:
        return torch.empty(leaf["shape"], dtype=kind)
    return torch.from_file(str(path), shared=False, size=size, dtype=kind).reshape(leaf["shape"])


def _to_disk(folder: Path, format: Format, records: Records, broken: Broken) -> Read:
    """Read files and keep what they hold; where that cannot be written a line says so."""
    _remove_unused(folder.parent)
    temporary = folder.with_name(f".{uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        with placing(temporary) as placed:
            stored = format.store(records.items, broken)
        found = prints(stored.x)
        parts = [_written(temporary, placed, f"x{name}", tensor) for name, tensor in named(stored.x).items()]
        parts.append(_written(temporary, placed, _PRINTS, found))
        write_json(temporary / _FACTS, {"leaves": parts, "kept": stored.kept, "notices": stored.notices})
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        again = _from_disk(folder)  # as every later time, so that nothing is written into what is kept
        return Read(stored, found) if again is None else again
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        _log.warning("Could not keep what was read in %s (%s): it will be read again next time.", folder, error)
        stored = format.store(records.items, broken)
        return Read(stored, prints(stored.x))
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _written(folder: Path, placed: dict[int, Path], name: str, tensor: Tensor) -> _Leaf:
    path = folder / f"{name}.bin"
    if tensor.data_ptr() in placed and tensor.is_contiguous():
        placed[tensor.data_ptr()].rename(path)
    else:
        tensor.contiguous().numpy().tofile(path)
    return {"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}


def _remove_unused(folder: Path) -> None:
    """Remove what nobody has read for a long time, and what killed processes left."""
    for facts in folder.glob(f"*/{_FACTS}"):
        if time.time() - facts.stat().st_mtime > _UNUSED:
            shutil.rmtree(facts.parent, ignore_errors=True)
    for left in folder.glob(".*"):
        if time.time() - left.stat().st_mtime > _UNUSED / 60:
            shutil.rmtree(left, ignore_errors=True)

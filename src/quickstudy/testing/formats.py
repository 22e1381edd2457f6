"""What a format must keep."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples, Features, State, leaves, map_features
from quickstudy.errors import DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Drawing
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec, check_examples
from quickstudy.testing.claims import equal, refuses, require, restored, same


def check_format(format: Format, records: Any, place: str | Path | Sequence[str | Path] | None = None) -> None:
    """Check a format against its contract with some records of it; raises AssertionError saying what is broken.

    records: at least two, as `store` takes them: items of `find`, or arrays in memory; or the seen values of one
    series. place: where the same records lie as files, in the same order, labelled where they have labels; left out
    where the format reads no files.

    Compact tensors and features must have one row for each example; features must be as `layout` says, and the same
    from files and from memory, and together and one by one (but for rounding). What `check` must refuse is refused, a
    record is drawn or not without an error, and the registered format is the same after it was stored as JSON.
    """
    stored = format.store(records)
    fitted = format.prepare(stored.x)
    flat = isinstance(fitted, dict) and all(isinstance(value, Tensor) for value in fitted.values())
    require(flat, "`prepare` must return a flat dict from names to tensors.")
    format = format.fitting(stored.x, records)
    kept = map_features(torch.clone, stored.x)
    x = format.features(stored.x, fitted)
    require(equal(kept, stored.x), "`features` changes the compact tensors in place.")
    _check_layout(format, x)
    require(same(x, format.features(format.store(records).x, fitted)), "The same records give other features.")
    if format.labels_itself:
        _check_labels_itself(format, stored.x, fitted)
    else:
        _check_rows(format, stored.x, stored.kept, x, fitted)
    if place is not None:
        _check_place(format, place, x, fitted)
    _check_refusals(format, records, x)
    drawing = format.draw(map_features(lambda t: t[0], x))
    require(drawing is None or isinstance(drawing, Drawing), f"`draw` gives a {type(drawing).__name__}, no Drawing.")
    points = format.coordinates(x)
    if points is not None:
        require(same(format.from_coordinates(points), x), "`from_coordinates` does not undo `coordinates`.")
    formats.name_of(type(format))
    restored(TaskSpec(format, targets.make("classes", ways=2)), "The format")


def _check_layout(format: Format, x: Features) -> None:
    tensors = format.named(x, "the features")
    counts = {len(tensor) for tensor in tensors.values()}
    require(len(counts) == 1, f"The tensors of the features have different numbers of examples: {sorted(counts)}.")
    for name, tensor in tensors.items():
        shape, dtype, below = format.layout[name]
        require(tensor.dtype == dtype, f"The features {name!r} are {tensor.dtype}, but `layout` says {dtype}.")
        one = tuple(tensor.shape[1:])
        require(one == shape, f"One example of the features {name!r} has the shape {one}, but `layout` says {shape}.")
        if tensor.is_floating_point():
            require(bool(torch.isfinite(tensor).all()), f"The features {name!r} hold NaN or infinite values.")
        elif below is not None:
            inside = bool(((tensor >= 0) & (tensor < below)).all())
            require(inside, f"The features {name!r} hold numbers outside [0, {below}), which `layout` says.")
    format.check(x, 1, "the features")


def _check_rows(format: Format, stored: Features, kept: list[int], x: Features, fitted: State) -> None:
    """Every record has features of its own, whatever it is stored among."""
    count = len(leaves(x)[0])
    require(len(kept) == count, f"{len(kept)} records were kept, but there are {count} features.")
    for i in range(count):
        alone = format.features(map_features(lambda t, i=i: t[i : i + 1], stored), fitted)
        row = map_features(lambda t, i=i: t[i : i + 1], x)
        require(same(alone, row), f"Record {i} has other features alone than among others.")
    tasks = format.features(map_features(lambda t: t[None], stored), fitted)
    require(same(tasks, map_features(lambda t: t[None], x)), "With an axis of tasks in front, the features are others.")
    refuses(lambda: format.examples(stored, None, fitted), DataError, "A support set without labels")


def _check_labels_itself(format: Format, stored: Features, fitted: State) -> None:
    x, y = format.examples(stored, None, fitted)
    counts = len(leaves(x)[0]), len(y)
    require(counts[0] == counts[1], f"`examples` gives {counts[0]} inputs and {counts[1]} labels.")
    refuses(lambda: format.examples(stored, y, fitted), DataError, "Labels for records that are their own")


def _check_place(format: Format, place: str | Path | Sequence[str | Path], x: Features, fitted: State) -> None:
    records = format.find(place)
    count = len(records.items)
    for what, told in (("names", records.names), ("labels", records.labels), ("groups", records.groups)):
        if told is not None:
            require(len(told) == count, f"`find` gives {count} items and {len(told)} {what}.")
    read = format.features(format.store(records.items).x, fitted)
    require(same(read, x), f"The records at {place} have other features than those in memory.")


def _check_refusals(format: Format, records: Any, x: Features) -> None:
    """Tensors of another shape or type, and such that hold no number, are refused."""
    wider = map_features(lambda t: torch.stack([t, t], dim=-1), x)
    refuses(lambda: format.check(wider, 1), ShapeError, "`check`: features with an axis too many")
    turned = map_features(lambda t: t.long() if t.is_floating_point() else t.float(), x)
    refuses(lambda: format.check(turned, 1), ShapeError, "`check`: features of another type")
    y = torch.zeros(len(leaves(x)[0]), dtype=torch.int64)
    spec = TaskSpec(format, targets.make("classes", ways=2))
    for name, tensor in format.named(x).items():
        if tensor.is_floating_point():
            spoiled = map_features(lambda t, of=tensor: t * torch.nan if t is of else t, x)
            examples = Examples(spoiled, y, torch.ones_like(y, dtype=torch.bool))
            refuses(partial(check_examples, examples, spec), DataError, f"The features {name!r} that are NaN")
    if isinstance(records, Tensor) and records.is_floating_point():
        _check_gap(format, records)


def _check_gap(format: Format, records: Tensor) -> None:
    """A number that is missing in memory is refused, or filled."""
    gap = records.clone()
    gap[(-1,) * gap.dim()] = torch.nan
    try:
        stored = format.store(gap).x
    except (DataError, ShapeError):
        return
    filled = leaves(format.features(stored, format.prepare(stored)))
    finite = all(bool(torch.isfinite(t).all()) for t in filled if t.is_floating_point())
    require(finite, "A record that holds NaN is neither refused by `store` nor filled by `features`.")

"""Maps of labels: for each pixel of each example the number of its class, and what the classes are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quickstudy.brief import Brief
from quickstudy.errors import DataError, ShapeError, first_of

IGNORED = -1
"""In maps: pixels that nobody has labelled."""
BACKGROUND = "background"
"""What a class is called that is everything else."""
_VALUES = 1 << 16  # a map has fewer


@dataclass(frozen=True)
class LabelMaps(Brief):
    """ids: (n, height, width) int16, numbers in `names`, or IGNORED. names: of the classes, by number."""

    ids: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def chosen(self, rows: Sequence[int]) -> LabelMaps:
        """Some of them."""
        return LabelMaps(self.ids[list(rows)], self.names)


def as_maps(labels: Any, ignore: int, background: bool = True) -> LabelMaps:
    """Arrays or lists (n, height, width) of whole numbers, or of truth, as maps; each value is a class of its own.

    0, or False, is the `background`, where there is one, and `ignore` are pixels that nobody has labelled. In maps of 0
    and 255 alone, 255 is the foreground: pictures in black and white are saved so. Raises DataError and ShapeError,
    naming the example.
    """
    if isinstance(labels, LabelMaps):
        return labels
    given = [_values(one, i) for i, one in enumerate(labels)]
    if not given:
        raise DataError("There are no masks. Give one for each example.")
    for i, one in enumerate(given):
        if one.shape != given[0].shape:
            raise ShapeError(
                f"The mask of example {i} has the shape {tuple(one.shape)}, that of example 0 {tuple(given[0].shape)}. "
                "Bring all to the size of their images, or give masks as files."
            )
    truth = all(one.dtype == torch.bool for one in given)
    names = ({0: BACKGROUND} if background else {}) | ({1: "foreground"} if truth else {})
    return named(torch.stack(given).to(torch.int32), names, ignore)


def _values(one: Any, index: int) -> Tensor:
    """The mask of one example, (height, width)."""
    try:
        value = torch.as_tensor(one)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"The mask of example {index} is {one!r:.60}, which is no array of whole numbers ({error}). Give a number "
            "for each pixel, (height, width), or a file."
        ) from error
    if value.is_floating_point():
        raise DataError(
            f"The mask of example {index} is floating point, but its pixels name classes. Round it: mask.round().int()."
        )
    if value.dim() != 2:
        raise ShapeError(
            f"The mask of example {index} has the shape {tuple(value.shape)}, expected (height, width): the number of "
            "a class for each pixel. Turn one-hot masks into mask.argmax(0)."
        )
    return value


def named(
    values: Tensor, names: dict[int, str], ignore: int, told: bool = False, places: Sequence[str] = ()
) -> LabelMaps:
    """Maps of the values (n, height, width) that pixels have, where `names` says what these are called.

    told: all names are known, so that any other value is a mistake; otherwise a value is called as it is written.
    places: where each map comes from. Values that are called alike are one class. The background, where there is one,
    is the class 0.
    """
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= _VALUES:
        raise DataError(
            f"The masks hold values from {low} to {high}, but numbers of classes are in [0, {_VALUES}). Correct them."
        )
    counts = torch.bincount(values.flatten(), minlength=ignore + 1)
    found = counts.nonzero().flatten().tolist()
    white = not told and ignore == 255 and set(found) <= {0, 255} and 255 in found
    skipped = {ignore} - ({255} if white else set()) - set(names)
    strange = [value for value in found if value not in names and value not in skipped]
    if told and strange:
        index = int((values == strange[0]).flatten(1).any(1).nonzero()[0])
        where = places[index] if places else f"example {index}"
        raise DataError(
            f"The mask of {where} holds the value {strange[0]}, which no class has; there are "
            f"{first_of([f'{value} ({name})' for value, name in sorted(names.items())])}. Name it in classes.txt, or "
            f"give pixels that are not labelled the value {ignore}."
        )
    called = dict(names) | {value: "foreground" if white else str(value) for value in strange}
    shown = list(dict.fromkeys(called[value] for value in sorted(called) if told or value in found))
    if BACKGROUND in called.values():
        shown = [BACKGROUND, *(name for name in shown if name != BACKGROUND)]
    number = torch.full((high + 1,), IGNORED, dtype=torch.int16)
    for value, name in called.items():
        if value <= high and name in shown:
            number[value] = shown.index(name)
    return LabelMaps(number[values.long()], tuple(shown))

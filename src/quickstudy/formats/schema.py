"""What the columns of a table are: learned from some rows, and kept with what was trained or adapted on them."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.errors import CheckpointError, DataError, first_of
from quickstudy.formats.cell import READINGS, Kind, day_called, days_of, finite, place_of, plain, written
from quickstudy.formats.written import written_otherwise
from quickstudy.hints import misfit

CELL = 3
"""Numbers that a cell becomes: its value in units of the column's spread, 1 where it is missing, and the number of its
category from 1 on, 0 where it is none."""
_FAR = 30  # spreads
_ROUNDING = 2e-7  # of a cell in spreads, as float32
_log = logging.getLogger("quickstudy")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column. values: its categories, the most frequent first; of dates, the first day; of cells that do not vary,
    what they are. centre, spread: of its numbers, of days since the first, or of the numbers of its categories, over
    the rows that it was learned from."""

    name: str
    kind: Kind = "number"
    values: tuple[str, ...] = ()
    centre: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, stored: Any) -> Column:
        """What `asdict` made, and JSON may have carried; CheckpointError for anything else."""
        if isinstance(stored, cls):
            return stored
        if wrong := misfit(stored, cls, "A column of the table"):
            raise CheckpointError(f"{wrong}. Train or adapt anew.")
        return cls(**{**stored, "values": tuple(stored.get("values", ()))})

    def coded(self, cells: Sequence[Any], places: Sequence[str], unknown: list[str]) -> Tensor:
        """(n, CELL) float32 of cells. Categories that are not among the values are missing, and go to `unknown`.

        Raises DataError, naming the place, for cells of another kind.
        """
        coded = torch.zeros((len(cells), CELL), dtype=torch.float64)
        if self.kind == "nothing":
            return coded.float()
        numbers = {value: i for i, value in enumerate(self.values)} if self.kind == "category" else {}
        for row, (held, at) in enumerate(zip(cells, places, strict=True)):
            cell, place = plain(held), place_of(held, at)
            number: float | None = None
            if self.kind == "category" and cell is not None:
                number = numbers.get(written(cell))
                if number is None:
                    unknown.append(f"{written(cell)!r:.40} in the column {self.name!r}")
            elif cell is not None:
                number = self._number(cell, f"{place}, column {self.name!r}")
            if number is None:
                coded[row, 1] = 1.0
            else:
                coded[row, 0] = (number - self.centre) / self.spread
                coded[row, 2] = 1 + number if self.kind in ("category", "boolean") else 0.0
        return coded.float()

    def _number(self, cell: Any, where: str) -> float:
        read = READINGS[self.kind](cell)
        if read is None:
            raise DataError(
                f"{where}: {written(cell)!r:.60} is no {self.kind}, as this column's cells were where it was learned. "
                "Correct it, or leave the cell empty."
            )
        return finite(read, where) - (days_of(self.values[0]) or 0.0 if self.kind == "date" else 0.0)

    def tried(self, key: Tensor, count: int) -> Tensor:
        """Made-up cells, coded: (count, CELL), one in eight of them empty."""
        coded = torch.zeros((count, CELL))
        if self.kind == "nothing":
            return coded
        coded[:, 0], gap = rng.normal(rng.fold(key, 0), (count,)), rng.integers(rng.fold(key, 1), 8, (count,)) == 0
        if self.kind in ("category", "boolean"):
            most = 2 if self.kind == "boolean" else max(len(self.values), 1)
            number = rng.integers(rng.fold(key, 2), most, (count,)).float()
            coded[:, 0], coded[:, 2] = (number - self.centre) / self.spread, 1 + number
        empty = torch.tensor([0.0, 1.0, 0.0])
        return torch.where(gap[:, None], empty, coded)

    def cell(self, coded: Sequence[float]) -> Any:
        """What `coded` made these numbers of: a text, a truth value, a number, a time to the minute; None for a gap."""
        value, gap, code = coded
        if self.kind == "nothing":
            return self.values[0] if self.values else None
        if gap:
            return None
        if self.kind == "category":
            return self.values[round(code) - 1]
        if self.kind == "boolean":
            return round(code) == 2
        if self.kind == "date":
            minutes = round(((days_of(self.values[0]) or 0.0) + value * self.spread + self.centre) * 1440)
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
        return self._unscaled(value)

    def _unscaled(self, value: float) -> float:
        """The number that was scaled to this; the whole one that lies within rounding."""
        number, rounding = value * self.spread + self.centre, _ROUNDING * max(abs(value), 1.0) * self.spread
        return float(round(number)) if abs(number - round(number)) <= rounding else number

    def shown(self, cell: Sequence[float]) -> str:
        """What the numbers of one coded cell say, as text."""
        value, gap, code = cell
        if gap or self.kind == "nothing":
            return "–"
        if self.kind == "category":
            return self.values[min(max(round(code) - 1, 0), len(self.values) - 1)]
        if self.kind == "boolean":
            return "true" if round(code) == 2 else "false"
        if self.kind == "date":
            days = (days_of(self.values[0]) or 0.0) + value * self.spread + self.centre
            return day_called(round(days * 1440) // 1440)  # so that rounding is not the day before
        number = self._unscaled(value)
        return f"{number:.0f}" if 1000 <= abs(number) < 1e9 else f"{number + 0.0:.3g}"


def learned(
    name: str, cells: Sequence[Any], places: Sequence[str], category: bool = False, idle: list[str] | None = None
) -> Column:
    """What a column is, of some rows of it; category: it holds categories, whatever it looks like.

    That it tells nothing goes to `idle`; what tells rows apart alone, or looks like numbers or dates but is not written
    so, is said through logging. Raises DataError, naming the place, where most cells are numbers, or dates, and some
    are not.
    """
    known = [
        (plain(cell), place_of(cell, place))
        for cell, place in zip(cells, places, strict=True)
        if plain(cell) is not None
    ]
    for kind, reading in () if category else READINGS.items():
        read = [reading(cell) for cell, _ in known]
        numbers = [number for number in read if number is not None]
        if known and len(numbers) == len(known):
            for number, (_, place) in zip(numbers, known, strict=True):
                finite(number, f"{place}, column {name!r}")
            if len(set(numbers)) > 1 or len(known) < len(cells):
                return _measured(name, kind, known, numbers)  # type: ignore[arg-type]
            break
        if kind != "boolean" and 2 * len(numbers) > len(known):
            cell, place = next(pair for pair, number in zip(known, read, strict=True) if number is None)
            raise DataError(
                f"{place}, column {name!r}: the value {cell!r:.60} is not a {kind}, but {len(numbers)} of {len(known)} "
                "cells of this column are. Correct it, empty it, or say that the column holds categories (categories)."
            )
    else:
        counts = Counter(written(cell) for cell, _ in known)
        if len(counts) > 1 or 0 < len(known) < len(cells):
            if how := "" if category else written_otherwise(list(counts)):
                _log.warning(
                    "The column %r holds categories, but looks like %s. Or say that it holds categories (categories).",
                    name, how,
                )  # fmt: skip
            elif len(counts) == len(known) > 8:
                _log.warning(
                    "The column %r has another value in each of %d rows, so that it tells rows apart and nothing else. "
                    "If it is a name or an id, leave it out (exclude).",
                    name, len(known),
                )  # fmt: skip
            values = tuple(sorted(counts, key=lambda value: (-counts[value], value)))
            number_of = {value: float(i) for i, value in enumerate(values)}
            column = Column(name=name, kind="category", values=values)
            return _scaled(column, [number_of[written(cell)] for cell, _ in known])
    if idle is not None:
        idle.append(f"{name!r} is {f'{written(known[0][0])!r:.40} in every row' if known else 'empty'}")
    return Column(name=name, kind="nothing", values=(written(known[0][0]),) if known else ())


def _measured(name: str, kind: Kind, known: Sequence[tuple[Any, str]], numbers: Sequence[float]) -> Column:
    if kind != "date":
        return _scaled(Column(name=name, kind=kind), numbers)
    first = min(numbers)
    return _scaled(
        Column(name=name, kind=kind, values=(day_called(math.floor(first)),)),
        [number - math.floor(first) for number in numbers],
    )


def _scaled(column: Column, numbers: Sequence[float]) -> Column:
    """The column with the mean and the standard deviation of these numbers."""
    values = torch.tensor(numbers, dtype=torch.float64)
    centre, spread = float(values.mean()), float(values.std(correction=0))
    return replace(column, centre=centre, spread=spread if spread > 1e-12 * max(abs(centre), 1e-300) else 1.0)


def said_of_unknown(unknown: Sequence[str]) -> list[str]:
    """What is said of cells whose category nobody has seen; nothing where there are none."""
    if not unknown:
        return []
    what = first_of(list(dict.fromkeys(unknown)))
    return [f"Cells left out, as if they were empty, whose category was never seen ({len(unknown)}): {what}"]


def said_of_idle(idle: Sequence[str]) -> list[str]:
    """What is said of columns that tell nothing; nothing where there are none."""
    return [f"Columns left out, since they tell nothing ({len(idle)}): {first_of(idle)}"] if idle else []


def said_of_far(schema: Sequence[Column], coded: Tensor) -> str:
    """What is said of numbers and dates in cells (n, columns, CELL) that are far from all that were learned; '' where
    none are."""
    far = (coded[..., 0].abs() * (coded[..., 1] == 0)).amax(0) if len(coded) else coded.new_zeros(len(schema))
    told = [
        f"{column.name!r} up to {spreads:.0f} spreads"
        for column, spreads in zip(schema, far.tolist(), strict=True)
        if column.kind in ("number", "date") and spreads > _FAR
    ]
    return (
        f"Far from all that was learned, so that answers say little (another unit?): {first_of(told)}" if told else ""
    )


def described(schema: Sequence[Column]) -> str:
    """'3 numbers, 2 categories', of the columns of a schema."""
    plural: dict[Kind, str] = {"number": "numbers", "category": "categories", "boolean": "booleans", "date": "dates"}
    counts = Counter(column.kind for column in schema)
    told = [f"{counts[kind]} {kind if counts[kind] == 1 else plural[kind]}" for kind in plural if counts[kind]]
    return ", ".join(told) or "nothing"

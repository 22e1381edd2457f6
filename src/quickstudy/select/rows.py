"""Features of new instances, from a CSV file or an ARFF file as ASlib's."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quickstudy.errors import DataError, first_of
from quickstudy.files import require_regular
from quickstudy.select.arff import Arff, read_arff
from quickstudy.select.scenario import Array

_NAME = "instance_id"
_MISSING = ("", "?", "nan", "na")


class Rows(NamedTuple):
    """Names (m) and features (m, D) of instances."""

    names: tuple[str, ...]
    x: Array


def read_rows(path: str | Path, features: Sequence[str]) -> Rows:
    """The columns `features` of a file, in that order; other columns are left out.

    An instance is called by its column instance_id, or by its number from 1. Empty cells and ? are missing values.
    Raises DataError, naming the line, for a column that is not there, a cell that is no number, and lines of another
    length.
    """
    require_regular(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Give a CSV file with a column for each feature.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in UTF-8 ({error}). Save it as UTF-8.") from error
    table = read_arff(text, str(path)) if Path(path).suffix.lower() == ".arff" else _from_csv(text, str(path))
    if lost := [name for name in features if name.lower() not in {one.lower() for one in table.names}]:
        raise DataError(f"{path} lacks the columns of {len(lost)} features: {first_of(lost)}. Add them.")
    if not table.rows:
        raise DataError(f"{path} has no rows. Add one for each instance.")
    named = _NAME in {one.lower() for one in table.names}
    names = tuple(table.texts(_NAME)) if named else tuple(str(i + 1) for i in range(len(table.rows)))
    return Rows(names, np.stack([table.numbers(name) for name in features], axis=1))


def _from_csv(text: str, place: str) -> Arff:
    reader = csv.reader(text.splitlines())
    head = tuple(name.strip() for name in next(reader, []))
    rows, lines = list[list[str | None]](), list[int]()
    for row in reader:
        if not row:
            continue
        if len(row) != len(head):
            raise DataError(f"{place}, line {reader.line_num}: {len(row)} cells, expected {len(head)}. Correct it.")
        rows.append([None if cell.strip().lower() in _MISSING else cell.strip() for cell in row])
        lines.append(reader.line_num)
    return Arff(place, head, ("string",) * len(head), rows, lines)

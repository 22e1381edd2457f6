"""Tables in which each column is a time series, as spreadsheets have them."""

from __future__ import annotations

from pathlib import Path

from quickstudy.errors import DataError, first_of
from quickstudy.formats.places import Lines, number_in, require_lines
from quickstudy.formats.records import say
from quickstudy.formats.written import with_point


def columns_of_numbers(lines: Lines, path: Path) -> dict[str, list[float]]:
    """The values of each column whose first cell is a number, from top to bottom, by its name; which columns these are,
    and which are not, is said.

    Raises DataError, naming line and column, for a cell of these that is no number, and where there is no such column.
    """
    columns, rows, numbers, commas = lines
    require_lines(rows, path)
    values: dict[str, list[float]] = {}
    left = []
    for at, name in enumerate(columns):
        cells = [with_point(row[at]) if commas else row[at] for row in rows]
        if not name or not _is_number(cells[0]):
            left.append(name or "one without a name")
            continue
        values[name] = [number_in(c, f"{path}, line {n}, column {name!r}") for c, n in zip(cells, numbers, strict=True)]
    if not values:
        raise DataError(
            f"{path} has no column that begins with a number, but {first_of(columns)}. Write the values of a series "
            "into each column, and above them its name."
        )
    others = f", the columns left out: {first_of(left)}" if left else ""
    say([f"Each column of {path} is a series ({len(values)}: {first_of(values)}){others}."])
    return values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

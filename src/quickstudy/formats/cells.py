"""The cells of rows in memory, column by column, in whatever they are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from quickstudy.errors import DataError, ShapeError
from quickstudy.gaps import missing


class Cells(NamedTuple):
    """columns: the cells of each column by its name. places: of the rows, for messages. named: whether the columns had
    names; without, they are called 'column 1', …"""

    columns: dict[str, list[Any]]
    places: list[str]
    named: bool

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def complete(self, names: Sequence[str]) -> bool:
        """Whether every cell of these columns is a number."""
        return all(_amount(cell) for name in names for cell in self.columns[name])


def _amount(cell: Any) -> bool:
    if isinstance(cell, str):
        return False
    return hasattr(cell, "__float__") and not isinstance(cell, bool) and not missing(cell)


def cells_of(records: Any) -> Cells:
    """The cells of a data frame, of mappings, of an array (n, columns), of rows that are lists or tensors.

    Raises ShapeError for what has no rows and columns, DataError for a mapping that lacks a column.
    """
    if hasattr(records, "columns") and hasattr(records, "to_numpy"):
        columns = {str(name): records[name].tolist() for name in records.columns}
        named, count = True, len(records)
        if len(columns) < len(records.columns):
            raise DataError("Two columns of the data frame have one name. Rename one.")
    else:
        rows = records.tolist() if hasattr(records, "tolist") else list(records)
        rows = [row.tolist() if hasattr(row, "tolist") else row for row in rows]
        count, named = len(rows), bool(rows) and all(isinstance(row, Mapping) for row in rows)
        columns = _of_mappings(rows) if named else _of_lists(rows)
    if not columns or not count:
        raise ShapeError(
            f"A table has the shape (rows, columns), with at least one of each; found {count} rows of {len(columns)}."
        )
    return Cells(columns, [f"row {i + 1}" for i in range(count)], named)


def _of_mappings(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    for i, row in enumerate(rows):
        gone = next((name for name in names if name not in row), None)
        if gone is not None:
            raise DataError(
                f"Record {i} has no column {gone!r}; it has {list(row)}. Give it, as None where nobody knows it."
            )
    return {name: [row[name] for row in rows] for name in names}


def _of_lists(rows: Sequence[Any]) -> dict[str, list[Any]]:
    widths = {len(row) if isinstance(row, Sequence) and not isinstance(row, str) else 0 for row in rows}
    if len(widths) != 1 or 0 in widths or any(isinstance(cell, list) for row in rows for cell in row):
        raise ShapeError(
            "A table has the shape (rows, columns): rows are lists of as many cells, or have names for their columns."
        )
    return {f"column {i + 1}": [row[i] for row in rows] for i in range(widths.pop())}


def names_of(records: Any) -> tuple[str, ...]:
    """What the columns of these records are called; () where they have no names."""
    if hasattr(records, "columns"):
        return tuple(map(str, records.columns))
    if isinstance(records, Sequence) and records and isinstance(records[0], Mapping):
        return tuple(records[0])
    return ()


def in_order(records: Any, names: Sequence[str]) -> Any:
    """The cells of records with named columns as numbers, in the order of `names`; others as they are."""
    if hasattr(records, "columns") and hasattr(records, "to_numpy"):  # a data frame
        return _numeric(records, names)
    if isinstance(records, Sequence) and records and all(isinstance(one, Mapping) for one in records):
        return _listed(records, names)
    return records


def _listed(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
    """The cells of records with named columns, in the order of `names`; DataError for a record that lacks one."""
    for i, one in enumerate(records):
        gone = next((name for name in names if name not in one), None)
        if gone is not None:
            raise DataError(f"Record {i} has no column {gone!r}; it has {list(one)}. Fill it, or drop the record.")
    return [[one[name] for name in names] for one in records]


def _numeric(frame: Any, names: Sequence[str]) -> Any:
    """The columns of a data frame, in the order of `names`; DataError for one that is no number."""
    held = {str(name): name for name in frame.columns}
    gone = [name for name in names if name not in held]
    if gone:
        raise DataError(f"The frame has no column {gone[0]!r}, which the model was trained with; it has {list(held)}.")
    chosen = frame[[held[name] for name in names]] if names else frame
    for name in chosen.columns:
        if chosen[name].dtype.kind not in "biuf":
            raise DataError(
                f"The column {name!r} of the frame holds {chosen[name].dtype}, and this model was trained on tables of "
                "numbers. Encode it as numbers, leave it out, or use a model of mixed tables (recipe 'tables')."
            )
    return chosen

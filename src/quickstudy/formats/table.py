"""Tables: rows of numeric columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.base import Format, Leaf
from quickstudy.formats.drawing import Drawing, row
from quickstudy.formats.numeric import as_numbers
from quickstudy.formats.places import column, number_in, read_csv, require_lines
from quickstudy.formats.records import Broken, Records, Stored, all_kept
from quickstudy.registry import formats


@formats.register("table")
@dataclass(frozen=True, kw_only=True)
class Table(Format):
    """Rows (n, columns) of numbers. A network that says so takes tables of fewer columns than it was built for.

    columns: how many; 0 until records have told. names: what they are called, where that is known; records that have
    names are then put into this order. As files: a CSV file whose first line names the columns. label, group: the
    columns that hold the label of a row, and the task that it belongs to, where there are such.
    """

    columns: int = 0
    names: tuple[str, ...] = ()
    label: str = "label"
    group: str = ""

    what = "rows of a table"
    place = "line"

    def __post_init__(self) -> None:
        if self.columns < 0 or (self.names and len(self.names) != self.columns):
            raise ConfigError(
                f"A table has some columns, and a name for each or none; found {self.columns} columns and the "
                f"names {self.names}."
            )

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"x": Leaf((self.columns,))}

    def __str__(self) -> str:
        return f"rows of {self.columns} numbers"

    def find(self, place: str | Path | Sequence[str | Path], labelled: bool = True) -> Records:
        path = one_file(place)
        columns, rows, lines = read_csv(path)
        label = column(columns, self.label, path, "where you train: --tasks.label") if labelled else None
        labels = None if label is None else [cells[label].strip() for cells in rows]
        if labels is not None and "" in labels:
            raise DataError(f"{path}, line {lines[labels.index('')]}: the label is missing. Fill it or drop the row.")
        groups = None
        if self.group in columns:  # without that column, all rows are of one task
            at = columns.index(self.group)
            groups = [cells[at].strip() for cells in rows]
        told = {self.label, self.group}
        names = list(self.names) or [name for name in columns if name not in told]
        at_names = [column(columns, name, path, "a run needs the columns that it was trained with") for name in names]
        wanted = list(zip(names, at_names, strict=True))
        require_lines(rows, path)
        items = [
            {name: number_in(cells[i], f"{path}, line {line}, column {name!r}") for name, i in wanted}
            for cells, line in zip(rows, lines, strict=True)
        ]
        return Records(items, [f"{path}, line {line}" for line in lines], labels, groups)

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        if hasattr(records, "columns") and hasattr(records, "to_numpy"):  # a data frame
            records = _numeric(records, self.names)
        elif isinstance(records, Sequence) and records and all(isinstance(one, Mapping) for one in records):
            records = _cells(records, self.names or tuple(records[0]))
        x = as_numbers(records)
        if x.dim() != 2 or not x.shape[1]:
            raise ShapeError(
                f"A table has the shape (rows, columns), with at least one column; found {tuple(x.shape)}."
            )
        return all_kept(x)

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored if stored.is_floating_point() else stored.to(torch.float32)

    def fitting(self, stored: Features, records: Any = None) -> Format:
        assert isinstance(stored, Tensor)
        width, names = stored.shape[-1], self.names or _names(records)
        return replace(self, columns=width, names=names if len(names) == width else ())

    def accepts(self, other: Format) -> bool:
        return isinstance(other, Table) and other.columns <= self.columns

    @property
    def example(self) -> str:
        return "row"

    @property
    def whole(self) -> str:
        return "table"

    def draw(self, x: Features) -> Drawing | None:
        assert isinstance(x, Tensor)
        names = self.names or ("",) * self.columns
        return row(names, x.tolist())

    def coordinates(self, x: Features) -> Tensor | None:
        assert isinstance(x, Tensor)
        return x if 1 <= self.columns <= 2 else None

    @property
    def directions(self) -> tuple[str, ...]:
        return self.names or tuple(f"column {i + 1}" for i in range(self.columns))


def _names(records: Any) -> tuple[str, ...]:
    """What the columns of these records are called; () where they have no names."""
    if hasattr(records, "columns"):
        return tuple(map(str, records.columns))
    if isinstance(records, Sequence) and records and isinstance(records[0], Mapping):
        return tuple(records[0])
    return ()


def _cells(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
    """The cells of records with named columns, in the order of `names`; DataError for a record that lacks one."""
    for i, one in enumerate(records):
        missing = next((name for name in names if name not in one), None)
        if missing is not None:
            raise DataError(f"Record {i} has no column {missing!r}; it has {list(one)}. Fill it, or drop the record.")
    return [[one[name] for name in names] for one in records]


def one_file(place: str | Path | Sequence[str | Path]) -> Path:
    """The one file that a place names."""
    places = [place] if isinstance(place, str | Path) else list(place)
    if len(places) != 1:
        raise ConfigError(f"Give one CSV file, found {len(places)}: {', '.join(map(str, places))}.")
    return Path(places[0])


def _numeric(frame: Any, names: tuple[str, ...]) -> Any:
    """The columns of a data frame, in the order of `names`; DataError for one that is no number."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(
            f"The frame has no column {missing[0]!r}, which the model was trained with; it has {list(frame.columns)}."
        )
    chosen = frame[list(names)] if names else frame
    for name in chosen.columns:
        if chosen[name].dtype.kind not in "biuf":
            raise DataError(
                f"The column {name!r} of the frame holds {chosen[name].dtype}, and tables are of numbers. Encode it as "
                "numbers, or leave it out."
            )
    return chosen

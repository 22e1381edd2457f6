"""Which columns of a table are looked at, as what, and the rows of files by them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickstudy.errors import DataError
from quickstudy.formats.cell import plain
from quickstudy.formats.places import column, number_in
from quickstudy.formats.records import Placed, Records, say
from quickstudy.formats.rows import Rows, files_of, groups_in, read_rows
from quickstudy.gaps import missing


@dataclass(frozen=True, kw_only=True)
class Columns:
    """names: of the columns, () until rows have told. label, group, exclude, categories, mixed: as of a `Table`."""

    names: tuple[str, ...]
    label: str
    group: str
    exclude: tuple[str, ...]
    categories: tuple[str, ...]
    mixed: bool

    def found(self, place: Any, labelled: bool, what: str) -> Records:
        """The rows at a place, called `what`, as `Table.find` gives them."""
        if not isinstance(place, str | Path | list | tuple):
            return self._records(read_rows(place), labelled)
        files = files_of(place, what)
        parts = [self._records(read_rows(one), labelled) for one in files]
        for file, part in zip(files, parts, strict=True):
            if part.items[0].keys() != parts[0].items[0].keys():
                raise DataError(
                    f"{file} has the columns {list(part.items[0])}, but {files[0]} has {list(parts[0].items[0])}. Give "
                    "all tables the same columns, empty where nobody knows them, or leave the others out (exclude)."
                )
        if len(parts) > 1 and labelled:
            parts = [
                part if part.groups else part._replace(groups=[file.stem] * len(part.items))
                for file, part in zip(files, parts, strict=True)
            ]
        together = [
            None if part[0] is None else [one for some in part for one in some] for part in zip(*parts, strict=True)
        ]
        return Records(*together)  # type: ignore[arg-type]

    def _records(self, rows: Rows, labelled: bool) -> Records:
        if not len(rows.places):
            raise DataError(f"{rows.place} has no rows. Write one for each record.")
        labels = groups = None
        if labelled:
            column(rows.columns, self.label, rows.place, "where you train: --tasks.label; where you adapt: --target")
            cells = rows.quantities(self.label)
            labels = [_label(cell, place) for cell, place in zip(cells, rows.places, strict=True)]
        groups = groups_in(rows, self.group)
        names = list(self.names) or [*self.open(rows.columns, rows.place), *self.exclude]
        if gone := next((name for name in names if name not in rows.columns), None):
            raise DataError(
                f"{rows.place} has no column {gone!r}, which there was where this was learned; it has {rows.columns}. "
                f"Add it{', empty where nobody knows it,' if self.mixed else ''} or learn anew without it."
            )
        if self.names:
            say(self.unused(rows.columns))
        held = {name: rows.quantities(name, dates=True) for name in names}
        columns = [self._numbers(name, cells, rows) for name, cells in held.items()]
        items = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
        return Records(items, list(rows.places), labels, groups)

    def open(self, columns: Sequence[str], place: str) -> list[str]:
        """The columns that are neither label nor group nor excluded."""
        for option in ("exclude", "categories"):
            strange = [name for name in getattr(self, option) if name not in columns]
            if strange:
                raise DataError(f"{place} has no column {strange[0]!r} ({option}); it has {list(columns)}. Correct it.")
        names = [name for name in columns if name not in {self.label, self.group, *self.exclude, ""}]
        if "" in columns:
            say([f"{place} has a column without a name, as numbers of rows are written: it is left out."])
        if not names:
            raise DataError(f"{place} has no column but {list(columns)}, so that there is nothing to learn from.")
        return names

    def kept(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Those that are not excluded."""
        return tuple(name for name in columns if name not in self.exclude)

    def unused(self, columns: Iterable[str]) -> list[str]:
        """What is said of columns that were not there where this was learned; nothing where there are none."""
        extra = [name for name in columns if name not in {*self.names, self.label, self.group, *self.exclude, ""}]
        return [f"Columns that were not there where this was learned are not used: {', '.join(extra)}"] if extra else []

    def _numbers(self, name: str, cells: Sequence[Any], rows: Rows) -> list[Any]:
        """The cells of a column as numbers where that is what they are; others with their place."""
        if self.names and not self.mixed:
            return [number_in(str(c), f"{p}, column {name!r}") for c, p in zip(cells, rows.places, strict=True)]
        try:
            return (
                [float(cell) for cell in cells]
                if not self.mixed and not any(map(missing, cells))
                else _placed(cells, rows)
            )
        except (TypeError, ValueError):
            return _placed(cells, rows)


def _label(cell: Any, place: str) -> str:
    """A label as it is written; DataError where the cell is a gap, as it would be in any other column."""
    if plain(cell) is None:
        found = "" if missing(cell) or not str(cell).strip() else f" ({str(cell).strip()!r} is a gap)"
        named = " If that is the name of a class, call it otherwise." if found else ""
        raise DataError(f"{place}: the label is missing{found}. Fill it or drop the row.{named}")
    return str(cell).strip()


def _placed(cells: Sequence[Any], rows: Rows) -> list[Any]:
    """Cells in which texts know where they stand."""
    return [
        Placed(cell, place) if isinstance(cell, str) else cell for cell, place in zip(cells, rows.places, strict=True)
    ]

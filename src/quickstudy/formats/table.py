"""Tables: rows of numbers, or of columns of several kinds with gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.cells import Cells, cells_of, in_order, names_of
from quickstudy.formats.drawing import Drawing, row, told
from quickstudy.formats.leaving import only
from quickstudy.formats.numeric import as_numbers
from quickstudy.formats.places import column, number_in
from quickstudy.formats.received import Most, row_of
from quickstudy.formats.records import Broken, Placed, Records, Stored, all_kept, say
from quickstudy.formats.rows import READERS, Rows, files_of, groups_in, read_rows
from quickstudy.formats.schema import (
    CELL,
    MISSING,
    Column,
    described,
    learned,
    plain,
    said_of_far,
    said_of_idle,
    said_of_unknown,
)
from quickstudy.formats.shown import Leaf
from quickstudy.gaps import missing
from quickstudy.registry import formats


@formats.register("table")
@dataclass(frozen=True, kw_only=True)
class Table(Format):
    """Rows of a table: numbers (n, columns), or cells of several kinds (n, columns, 3), see `schema`.

    columns: how many; 0 until records have told. names: what they are called, where that is known; records that have
    names are then put into this order. label, group: the columns that hold the label of a row, and the task that it
    belongs to, where there are such. exclude: columns that are not looked at. categories: columns whose cells are names
    of things though they look like numbers.
    mixed: columns may hold categories, truth values, dates, and gaps. schema: what each of them is; where there is
    none yet, the rows of training teach it, or else those of each new task. Rows in which every cell is a number need
    none, and stay as they are.

    As files: rows with named columns (CSV, TSV, JSON Lines, Parquet, a folder that `save_to_disk` of the library
    datasets wrote). A folder of such files, or several of them, are one task each.
    """

    columns: int = 0
    names: tuple[str, ...] = ()
    label: str = "label"
    group: str = ""
    exclude: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    mixed: bool = False
    schema: tuple[Column, ...] = ()

    what = "rows of a table"
    medium = "table"
    place = "line"
    row_files = tuple(READERS)

    def __post_init__(self) -> None:
        if self.schema:
            schema = tuple(map(Column.of, self.schema))
            object.__setattr__(self, "schema", schema)
            object.__setattr__(self, "columns", self.columns or len(schema))
            object.__setattr__(self, "names", self.names or tuple(column.name for column in schema))
        if self.columns < 0 or (self.names and len(self.names) != self.columns):
            raise ConfigError(
                f"A table has some columns, and a name for each or none; found {self.columns} columns and the "
                f"names {self.names}."
            )
        if self.schema and (not self.mixed or tuple(column.name for column in self.schema) != self.names):
            raise ConfigError("The schema of a table says of each of its columns what it is, and mixed=True.")

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"x": Leaf((self.columns, CELL) if self.mixed else (self.columns,))}

    def __str__(self) -> str:
        kinds = f" ({described(self.schema)})" if self.schema else ""
        return f"rows of {self.columns} {'cells' if self.mixed else 'numbers'}{kinds}"

    # From records to features

    def find(self, place: Any, labelled: bool = True) -> Records:
        """The rows at a place; of several files, or of a folder of them, each file is a task. `place` may also be a
        data frame or a data set in memory."""
        if not isinstance(place, str | Path | list | tuple):
            return self._rows(read_rows(place), labelled)
        files = files_of(place, self.what)
        parts = [self._rows(read_rows(one), labelled) for one in files]
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

    def _rows(self, rows: Rows, labelled: bool) -> Records:
        if not len(rows.places):
            raise DataError(f"{rows.place} has no rows. Write one for each record.")
        labels = groups = None
        if labelled:
            column(rows.columns, self.label, rows.place, "where you train: --tasks.label; where you adapt: --target")
            cells = rows.quantities(self.label)
            labels = [_label(cell, place) for cell, place in zip(cells, rows.places, strict=True)]
        groups = groups_in(rows, self.group)
        names = list(self.names) or [*self._open(rows.columns, rows.place), *self.exclude]
        if gone := next((name for name in names if name not in rows.columns), None):
            raise DataError(
                f"{rows.place} has no column {gone!r}, which there was where this was learned; it has {rows.columns}. "
                f"Add it{', empty where nobody knows it,' if self.mixed else ''} or learn anew without it."
            )
        if self.names:
            say(self._unused(rows.columns))
        held = {name: rows.quantities(name, dates=True) for name in names}
        columns = [self._numbers(name, cells, rows) for name, cells in held.items()]
        items = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
        return Records(items, list(rows.places), labels, groups)

    def _open(self, columns: Sequence[str], place: str) -> list[str]:
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

    def _kept(self, columns: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in columns if name not in self.exclude)

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

    def learn(self, records: Any, broken: Broken = "refuse") -> Format:
        """The schema of these rows, unless it is known already, or every cell is a number."""
        if self.schema or (self.columns and not self.mixed) or _is_features(records):
            return self
        cells = cells_of(records)
        names = self._open(cells.names, "The table") if cells.named else list(cells.names)
        if not self.mixed and not self.categories and cells.complete(names):
            return self
        idle: list[str] = []
        schema = tuple(learned(n, cells.columns[n], cells.places, n in self.categories, idle) for n in names)
        say(said_of_idle(idle))
        if all(column.kind == "nothing" for column in schema):
            raise DataError(
                f"No column of the table ({', '.join(names)}) varies, so that there is nothing to learn from. Give "
                "other columns, or more rows."
            )
        return replace(self, columns=len(schema), names=tuple(names), mixed=True, schema=schema)

    def told(self, **columns: Any) -> Format:
        if self.names and (columns.get("exclude") or columns.get("categories")):
            raise ConfigError(
                f"This run was trained on the columns {', '.join(self.names)}, and needs all of them: exclude and "
                "categories say nothing here. Leave them out, or train anew without these columns."
            )
        return super().told(**columns)

    def opened(self, records: Any) -> Format:
        return self.learn(records) if self.mixed else self

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        """Rows as numbers or cells; a place is a file of them."""
        if isinstance(records, str | Path):
            records = self.find(records, labelled=False).items
        if self.mixed:
            return self._coded(records)
        x = as_numbers(in_order(records, self.names or self._kept(names_of(records))))
        if x.dim() != 2 or not x.shape[1]:
            raise ShapeError(
                f"A table has the shape (rows, columns), with at least one column; found {tuple(x.shape)}."
            )
        return all_kept(x)

    def received(self, record: Any, most: Most) -> Any:
        return row_of(record, most)

    def _coded(self, records: Any) -> Stored:
        """Cells (n, columns, 3) by the schema; features as they are."""
        if _is_features(records):
            return all_kept(records.detach().float())
        if not self.schema:
            raise ConfigError(
                "It is not known yet what the columns of this table are. Let rows teach it: format = "
                "format.learn(rows)."
            )
        cells: Cells = cells_of(records)
        if not cells.named and len(cells.names) != self.columns:
            raise ShapeError(
                f"These rows have {len(cells.names)} columns, but there were {self.columns} where the schema was "
                f"learned ({', '.join(self.names)}). Give the same columns, or a data frame, which names them."
            )
        held = dict(zip(self.names, cells.columns.values(), strict=False)) if not cells.named else cells.columns
        gone = [name for name in self.names if name not in held]
        if gone:
            raise DataError(
                f"There is no column {gone[0]!r}, which there was where the schema was learned; there are "
                f"{list(held)}. Add it, empty where nobody knows it, or adapt anew without it."
            )
        unknown: list[str] = []
        coded = [column.coded(held[column.name], cells.places, unknown) for column in self.schema]
        said = said_of_unknown(unknown)
        said += self._unused(held)
        return Stored(torch.stack(coded, dim=1), list(range(len(cells.places))), said)

    def _unused(self, columns: Iterable[str]) -> list[str]:
        """What is said of columns that were not there where this was learned; nothing where there are none."""
        extra = [name for name in columns if name not in {*self.names, self.label, self.group, *self.exclude, ""}]
        return [f"Columns that were not there where this was learned are not used: {', '.join(extra)}"] if extra else []

    def raw(self, stored: Features, further: Any = None) -> Any:
        """Rows as they were before they were coded by the schema, as mappings; numbers to float32's precision. Columns
        that are left out are there, and empty, so that they can be left out again."""
        if not self.schema:
            return None
        assert isinstance(stored, Tensor)
        out = dict.fromkeys(self.exclude)
        rows = [
            out | {column.name: column.cell(cell) for column, cell in zip(self.schema, row, strict=True)}
            for row in stored.tolist()
        ]
        if further is None:
            return rows
        cells = cells_of(further)
        held = cells.columns if cells.named else dict(zip(self.names, cells.columns.values(), strict=False))
        if gone := [name for name in self.names if name not in held]:
            raise DataError(
                f"The further rows have no column {gone[0]!r}, which those before have; they have {list(held)}. Add "
                "it, empty where nobody knows it."
            )
        say(self._unused(held))
        columns = [held[name] for name in self.names]
        return rows + [out | dict(zip(self.names, row, strict=True)) for row in zip(*columns, strict=True)]

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored if stored.is_floating_point() else stored.to(torch.float32)

    def reading(self, fitted: State) -> dict[str, Any]:
        if self.mixed and not self.schema:
            raise ConfigError(
                "It is not known yet what the columns of this table are, which each task's rows teach. Adapt to rows, "
                "and export that model."
            )
        schema = [asdict(column) for column in self.schema] if self.mixed else None
        names = {"columns": self.columns, "names": list(self.names)}
        return {"kind": "table", **names, "schema": schema, "missing": list(MISSING)}

    def entering(self, stored: Features, fitted: State) -> dict[str, Tensor]:
        return super().entering(self.features(stored), fitted)

    def entered(self, given: Mapping[str, Tensor], fitted: State) -> Features:
        return only(given)

    def tried(self, key: Tensor, count: int, fitted: State) -> dict[str, Tensor]:
        if not self.mixed:
            return {"x": rng.normal(key, (count, self.columns))}
        columns = [column.tried(rng.fold(key, i), count) for i, column in enumerate(self.schema)]
        return {"x": torch.stack(columns, dim=1)}

    def doubts(self, stored: Features, fitted: State) -> str:
        assert isinstance(stored, Tensor)
        return said_of_far(self.schema, stored) if self.schema else ""

    def fitting(self, stored: Features, records: Any = None) -> Format:
        assert isinstance(stored, Tensor)
        if self.mixed:
            return self if self.schema else replace(self, columns=stored.shape[-2])
        width, names = stored.shape[-1], self.names or self._kept(names_of(records))
        return replace(self, columns=width, names=names if len(names) == width else ())

    def accepts(self, other: Format) -> bool:
        return isinstance(other, Table) and other.mixed == self.mixed and other.columns <= self.columns

    # What people see

    @property
    def example(self) -> str:
        return "row"

    @property
    def whole(self) -> str:
        return "table"

    def draw(self, x: Features) -> Drawing | None:
        assert isinstance(x, Tensor)
        names = self.names or ("",) * self.columns
        if not self.mixed:
            return row(names, x.tolist())
        schema = self.schema or tuple(Column(name=name) for name in names)
        return told([(column.name, column.shown(cell)) for column, cell in zip(schema, x.tolist(), strict=False)])

    def coordinates(self, x: Features) -> Tensor | None:
        assert isinstance(x, Tensor)
        return x if 1 <= self.columns <= 2 and not self.mixed else None

    @property
    def directions(self) -> tuple[str, ...]:
        return self.names or tuple(f"column {i + 1}" for i in range(self.columns))


def _is_features(records: Any) -> bool:
    """Whether these are cells (n, columns, 3) already."""
    return isinstance(records, Tensor) and records.dim() == 3 and records.shape[-1] == CELL


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

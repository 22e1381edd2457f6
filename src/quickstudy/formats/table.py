"""Tables: rows of numbers, or of columns of several kinds with gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.cell import MISSING
from quickstudy.formats.cells import cells_of, in_order, names_of
from quickstudy.formats.coded import coded, is_coded, uncoded
from quickstudy.formats.columns import Columns
from quickstudy.formats.drawing import Drawing, row, told
from quickstudy.formats.layout import Leaf
from quickstudy.formats.leaving import only
from quickstudy.formats.numeric import as_numbers
from quickstudy.formats.received import Most, row_of
from quickstudy.formats.records import Broken, Records, Stored, all_kept, say
from quickstudy.formats.rows import READERS
from quickstudy.formats.schema import CELL, Column, described, learned, said_of_far, said_of_idle
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
    place = "row"
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

    @property
    def _columns(self) -> Columns:
        return Columns(
            names=self.names, label=self.label, group=self.group, exclude=self.exclude, categories=self.categories,
            mixed=self.mixed,
        )  # fmt: skip

    def find(self, place: Any, labelled: bool = True) -> Records:
        """The rows at a place; of several files, or of a folder of them, each file is a task. `place` may also be a
        data frame or a data set in memory."""
        return self._columns.found(place, labelled, self.what)

    def learn(self, records: Any, broken: Broken = "refuse") -> Format:
        """The schema of these rows, unless it is known already, or every cell is a number."""
        if self.schema or (self.columns and not self.mixed) or is_coded(records):
            return self
        cells = cells_of(records)
        names = self._columns.open(cells.names, "The table") if cells.named else list(cells.names)
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
            return coded(self.schema, self._columns, records)
        x = as_numbers(in_order(records, self.names or self._columns.kept(names_of(records))))
        if x.dim() != 2 or not x.shape[1]:
            raise ShapeError(
                f"A table has the shape (rows, columns), with at least one column; found {tuple(x.shape)}."
            )
        return all_kept(x)

    def received(self, record: Any, most: Most) -> Any:
        return row_of(record, most)

    def raw(self, stored: Features, further: Any = None) -> Any:
        if not self.schema:
            return None
        assert isinstance(stored, Tensor)
        return uncoded(self.schema, self._columns, stored, further)

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
        width, names = stored.shape[-1], self.names or self._columns.kept(names_of(records))
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

"""Cells of rows by the schema of a table, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.cells import cells_of
from quickstudy.formats.columns import Columns
from quickstudy.formats.records import Stored, all_kept, say
from quickstudy.formats.schema import CELL, Column, said_of_unknown


def is_coded(records: Any) -> bool:
    """Whether these are cells (n, columns, 3) already."""
    return isinstance(records, Tensor) and records.dim() == 3 and records.shape[-1] == CELL


def coded(schema: Sequence[Column], columns: Columns, records: Any) -> Stored:
    """Cells (n, columns, 3) by the schema; features as they are."""
    if is_coded(records):
        return all_kept(records.detach().float())
    if not schema:
        raise ConfigError(
            "It is not known yet what the columns of this table are. Let rows teach it: format = format.learn(rows)."
        )
    cells = cells_of(records)
    if not cells.named and len(cells.names) != len(schema):
        raise ShapeError(
            f"These rows have {len(cells.names)} columns, but there were {len(schema)} where the schema was "
            f"learned ({', '.join(columns.names)}). Give the same columns, or a data frame, which names them."
        )
    held = dict(zip(columns.names, cells.columns.values(), strict=False)) if not cells.named else cells.columns
    gone = [name for name in columns.names if name not in held]
    if gone:
        raise DataError(
            f"There is no column {gone[0]!r}, which there was where the schema was learned; there are "
            f"{list(held)}. Add it, empty where nobody knows it, or adapt anew without it."
        )
    unknown: list[str] = []
    each = [column.coded(held[column.name], cells.places, unknown) for column in schema]
    said = said_of_unknown(unknown)
    said += columns.unused(held)
    return Stored(torch.stack(each, dim=1), list(range(len(cells.places))), said)


def uncoded(schema: Sequence[Column], columns: Columns, stored: Tensor, further: Any = None) -> list[dict[str, Any]]:
    """Rows as they were before they were coded by the schema, as mappings; numbers to float32's precision. Columns
    that are left out are there, and empty, so that they can be left out again."""
    out = dict.fromkeys(columns.exclude)
    rows = [
        out | {column.name: column.cell(cell) for column, cell in zip(schema, row, strict=True)}
        for row in stored.tolist()
    ]
    if further is None:
        return rows
    cells = cells_of(further)
    held = cells.columns if cells.named else dict(zip(columns.names, cells.columns.values(), strict=False))
    if gone := [name for name in columns.names if name not in held]:
        raise DataError(
            f"The further rows have no column {gone[0]!r}, which those before have; they have {list(held)}. Add "
            "it, empty where nobody knows it."
        )
    say(columns.unused(held))
    cells_of_each = zip(*(held[name] for name in columns.names), strict=True)
    return rows + [out | dict(zip(columns.names, row, strict=True)) for row in cells_of_each]

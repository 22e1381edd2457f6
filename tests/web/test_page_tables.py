"""Rows and series in the page: the same numbers as in Python."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from quickstudy.errors import DataError
from quickstudy.formats.cell import MISSING
from quickstudy.formats.series import Series
from quickstudy.formats.table import Table
from tests.web.node_runs import needs_node, node

ROWS = [
    {"size": size, "colour": colour, "ripe": ripe, "day": day, "same": "x", "code": code}
    for size, colour, ripe, day, code in [
        ("1.5", "red", "true", "2024-03-01", 1.0), (" 2_000 ", "green", "False", "2024-03-01T12:30", 2.0),
        ("-.5e-3", "red", "", "2023-12-31 23:59:59.25", 1.0),
        ("NaN", " blue ", "TRUE", "2024-02-29T00:00:00+05:30", 3.5),
        ("", "N/A", "false", "?", 1e-5), ("+7.", "green", "true", "1969-12-31T23:00Z", 1e22),
    ]
]  # fmt: skip
NEW = [*ROWS, {"size": 3, "colour": "never seen", "ripe": True, "day": None, "same": "y", "code": "1"}]


@needs_node
def test_cells_are_coded_as_in_python(tmp_path: Path) -> None:
    format = Table(mixed=True, categories=("code",)).learn(ROWS)
    assert isinstance(format, Table)
    assert [column.kind for column in format.schema] == ["number", "category", "boolean", "date", "nothing", "category"]
    stored = format.store(NEW)
    found = node(
        tmp_path,
        """
        const { tableReader } = await lib("table.js");
        const { leaves, notices } = tableReader(given.reading)(given.rows);
        return { x: Array.from(leaves.x.data), shape: leaves.x.shape, notices };
        """,
        reading={
            "columns": format.columns, "names": format.names, "schema": list(map(asdict, format.schema)),
            "missing": MISSING,
        },
        rows=NEW,
    )  # fmt: skip
    assert found["shape"] == list(stored.x.shape)
    assert torch.equal(torch.tensor(found["x"]).reshape(stored.x.shape), stored.x)
    assert found["notices"] == stored.notices


@needs_node
@pytest.mark.parametrize(
    "cell",
    ["1", "-2.5e3", " .5 ", "1.", "1_0", "inf", "1__0", "_1", "1e", "0x10", "1,5", "", "e5", "--1", "1e400", "1 2"],
)
def test_numbers_are_those_that_python_reads(cell: str, tmp_path: Path) -> None:
    try:
        expected: float | None = float(cell)
    except ValueError:
        expected = None
    found = node(
        tmp_path,
        """
        const { numberIn } = await lib("numbers.js");
        const x = numberIn(given.cell);
        return x === null ? x : String(x);
        """,
        cell=cell,
    )
    assert (None if found is None else float(found.replace("Infinity", "inf"))) == expected


@needs_node
def test_rows_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    format = Table(mixed=True, categories=("code",)).learn(ROWS)
    assert isinstance(format, Table)
    bad = {"number": NEW[0] | {"size": "large"}, "column": {k: v for k, v in NEW[0].items() if k != "day"}}
    for row in bad.values():
        with pytest.raises(DataError):
            format.store([row])
    found = node(
        tmp_path,
        """
        const { tableReader } = await lib("table.js");
        const read = tableReader(given.reading);
        return given.rows.map((row) => { try { read([row]); } catch (error) { return [error.code, error.message]; } });
        """,
        reading={
            "columns": format.columns, "names": format.names, "schema": list(map(asdict, format.schema)),
            "missing": MISSING,
        },
        rows=list(bad.values()),
    )  # fmt: skip
    assert [code for code, _ in found] == ["no_number", "no_column"]
    assert "'size'" in found[0][1] and "'day'" in found[1][1]


@needs_node
def test_windows_of_a_series_are_those_of_python(tmp_path: Path) -> None:
    values = [1.0, 2.5, -3.0, 0.0, 7.0]
    format = Series(window=3, normalise=False)
    expected = format.windows(torch.tensor(values, dtype=torch.float64), torch.arange(1, 6))
    found = node(
        tmp_path,
        """
        const { windows } = await lib("series.js");
        return Array.from(windows(given.values, [1, 2, 3, 4, 5], 3).data, (x) => (Number.isNaN(x) ? null : x));
        """,
        values=values,
    )
    for value, (shown, there) in zip(found, expected.reshape(-1, 2).tolist(), strict=True):
        assert (value is not None) == (there == 1) and math.isclose(value or 0.0, shown)

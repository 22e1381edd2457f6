"""Tables from files, data frames and records: the same numbers in the same order, and faults by their place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.errors import DataError, ShapeError
from quickstudy.registry import formats

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@dataclass
class Frame:
    """What is used of a data frame."""

    cells: dict[str, np.ndarray]

    @property
    def columns(self) -> list[str]:
        return list(self.cells)

    def __getitem__(self, name: str | list[str]) -> Frame | np.ndarray:
        return self.cells[name] if isinstance(name, str) else Frame({one: self.cells[one] for one in name})

    def to_numpy(self) -> np.ndarray:
        return np.stack(list(self.cells.values()), axis=1)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_columns_come_in_the_order_of_the_run_whatever_that_of_the_records_is(tmp_path: Path) -> None:
    table = formats.make("table", columns=2, names=("b", "a"))
    file = written(tmp_path / "t.csv", "a,label,b\n2,x,1\n4,y,3\n6,x,5\n")
    records = table.find(file)
    assert records.labels == ["x", "y", "x"] and records.names[1] == f"{file}, line 3"
    frame = Frame({"a": np.array([2, 4, 6]), "c": np.array([0.0, 0.0, 0.0]), "b": np.array([1, 3, 5])})
    mappings = [{"a": a, "b": b} for b, a in ROWS]
    for given in (records.items, frame, mappings, ROWS, np.array(ROWS), torch.tensor(ROWS)):
        assert table.features(table.store(given).x).tolist() == ROWS


def test_a_table_without_columns_takes_those_of_its_records(tmp_path: Path) -> None:
    table = formats.make("table", label="kind", group="herd")
    records = table.find(written(tmp_path / "t.csv", "herd,a,kind,b\nnorth,1,x,2\nsouth,3,y,4\n"))
    assert records.items == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]
    assert records.groups == ["north", "south"] and records.labels == ["x", "y"]
    fitted = table.fitting(table.store(records.items).x, records.items)
    assert fitted.layout["x"].shape == (2,) and fitted.names == ("a", "b")


def test_faults_are_named_by_their_place(tmp_path: Path) -> None:
    table = formats.make("table", columns=2, names=("a", "b"))
    with pytest.raises(DataError, match=r"t\.csv, line 3, column 'b': the value 'high' is not a number"):
        table.find(written(tmp_path / "t.csv", "a,b,label\n1,2,x\n3,high,y\n"))
    with pytest.raises(DataError, match=r"t\.csv, line 2: the label is missing"):
        table.find(written(tmp_path / "t.csv", "a,b,label\n1,2,\n"))
    with pytest.raises(DataError, match="no column 'b'"):
        table.find(written(tmp_path / "t.csv", "a,label\n1,x\n"))
    with pytest.raises(DataError, match="frame has no column 'b'"):
        table.store(Frame({"a": np.zeros(2)}))
    with pytest.raises(DataError, match="column 'b' of the frame holds"):
        table.store(Frame({"a": np.zeros(2), "b": np.array(["x", "y"])}))
    with pytest.raises(DataError, match="Record 1 has no column 'b'"):
        table.store([{"a": 1.0, "b": 2.0}, {"a": 1.0}])
    with pytest.raises(ShapeError, match=r"shape \(rows, columns\)"):
        table.store(torch.zeros(2, 3, 4))


def test_only_narrower_tables_are_accepted() -> None:
    wide, narrow = formats.make("table", columns=4), formats.make("table", columns=3)
    assert wide.accepts(narrow) and wide.accepts(wide) and not narrow.accepts(wide)
    assert not wide.accepts(formats.make("array", shape=(3,)))


@pytest.mark.parametrize(
    ("name", "held", "words"),
    [
        ("t.xlsx", b"PK\x03\x04rest", "is an archive, as spreadsheets are.*Save its table as CSV"),
        ("t.csv.gz", b"\x1f\x8brest", "is compressed"),
        ("t.json", b'[{"a": 1, "label": "x"}]', r"looks like JSON.*\.jsonl"),
    ],
)
def test_files_of_another_kind_are_called_so(tmp_path: Path, name: str, held: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(held)
    with pytest.raises(DataError, match=words):
        formats.make("table").find(tmp_path / name)


def test_cells_may_stand_between_bars(tmp_path: Path) -> None:
    found = formats.make("table").find(written(tmp_path / "t.csv", "a|label\n1,5|x\n2|y\n"))
    assert found.labels == ["x", "y"] and [one["a"] for one in found.items] == ["1,5", "2"]


@pytest.mark.filterwarnings("error")
def test_columns_of_a_frame_may_be_called_by_numbers() -> None:
    frame = pytest.importorskip("pandas").DataFrame(ROWS)
    table = formats.make("table")
    fitted = table.fitting(table.store(frame).x, frame)
    assert fitted.names == ("0", "1") and fitted.store(frame[[1, 0]]).x.tolist() == ROWS

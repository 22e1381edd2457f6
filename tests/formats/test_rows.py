"""Rows with named columns, from real files of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.rows import holds_rows, read_rows

ROWS = [
    {"text": "wo ist sie?", "label": "a"},
    {"text": "我的卡在哪里？", "label": "b"},
    {"text": "أين, بطاقتي؟", "label": "a"},
]


def columns(place: object) -> dict[str, list[object]]:
    assert holds_rows(place)
    rows = read_rows(place)
    assert len(rows.places) == len(ROWS)
    return {name: rows.column(name, "--x") for name in rows.columns}


EXPECTED = {name: [row[name] for row in ROWS] for name in ("text", "label")}


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\ufeff" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS), encoding="utf-8")
    assert columns(path) == EXPECTED
    assert read_rows(path).places == [f"{path}, line {line}" for line in (1, 3, 5)]


def test_csv_with_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in ROWS), encoding="utf-8")
    assert columns(str(path)) == EXPECTED


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.Table.from_pylist(ROWS), path)
    assert columns(path) == EXPECTED
    assert read_rows(path).places[2] == f"{path}, row 3"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as a Parquet file"):
        read_rows(path)


def test_data_sets_on_disk_and_in_memory_with_named_classes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
    held = datasets.Dataset.from_list(ROWS, features=kinds)
    held.save_to_disk(tmp_path / "saved")
    assert columns(held) == columns(tmp_path / "saved") == EXPECTED
    datasets.DatasetDict({"train": held, "test": held}).save_to_disk(tmp_path / "both")
    with pytest.raises(ConfigError, match="holds the splits 'train', 'test'"):
        read_rows(tmp_path / "both")


def test_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    assert columns(pandas.DataFrame(ROWS)) == EXPECTED


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"text": "a"}\n\xff\xfe', "line 2: that is no JSON in UTF-8"),
        (b'{"text": "a"}\n{"text": ', "line 2: that is no JSON"),
        (b'["a"]', "line 1: found .* expected an object"),
        (b"[" * 100_000, "line 1: that is no JSON"),
    ],
)
def test_what_is_no_json_lines_is_named_by_line(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=said):
        read_rows(tmp_path / "a.jsonl")


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "a"}\n{"intent": 3}')
    rows = read_rows(tmp_path / "a.jsonl")
    assert rows.column("intent", "--x") == [None, 3]
    with pytest.raises(DataError, match=r"no column 'text'.*\['question', 'intent'\].*--tasks.text"):
        rows.column("text", "--tasks.text")
    with pytest.raises(ConfigError, match="gone.jsonl cannot be read"):
        read_rows(tmp_path / "gone.jsonl")

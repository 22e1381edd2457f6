"""Rows with named columns, from real files of every kind."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from quickstudy.cli.parse import one_task
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats import Audio, Tokens
from quickstudy.formats.base import Format
from quickstudy.formats.records import summed
from quickstudy.formats.rows import holds_rows, labels_of, read_rows
from quickstudy.targets import Transcript

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


@pytest.mark.parametrize(
    ("mark", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8"), (";", "utf-8")], ids=repr
)
def test_csv_files_of_spreadsheets(mark: str, encoding: str, tmp_path: Path) -> None:
    """Where a comma stands before decimals, spreadsheets put semicolons between cells."""
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=mark)
        writer.writerows([EXPECTED, *([row["text"], row["label"]] for row in ROWS)])
    assert columns(path) == EXPECTED


def test_a_line_that_says_what_separates_the_columns_is_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"sep=;\r\ntext;label\r\nwhere, and when?;a\r\n")
    rows = read_rows(path)
    assert (rows.columns, rows.column("text", ""), rows.places) == (
        ["text", "label"], ["where, and when?"], [f"{path}, line 3"],
    )  # fmt: skip
    path.write_bytes(b"sep=|\ntext|label\na|b|c\n")
    with pytest.raises(DataError, match="line 3: 3 cells, but 2 columns"):
        read_rows(path)


def test_a_quotation_mark_that_nothing_closes_swallows_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"wo,a\n"wie",b\nwer,a\n')
    with pytest.raises(DataError, match=r"a\.csv, line 2 or after it: a cell is not as CSV files have it"):
        read_rows(path)


def test_a_cell_may_be_as_long_as_it_likes(tmp_path: Path) -> None:
    path, before = tmp_path / "a.csv", csv.field_size_limit()
    path.write_text(f"text,label\n{'wort ' * 100_000},a\n")
    assert len(read_rows(path).read("text")[0]) == 500_000 and csv.field_size_limit() == before


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nwo,a\nGröße,b\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"a\.csv, line 3: that is no CSV file in UTF-8"):
        read_rows(path)


def test_names_that_look_alike_are_alike_and_what_is_no_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"label": one}) for one in ("gr\u00fcn", " gru\u0308n", 3)))
    assert labels_of(read_rows(path), "label") == ["gr\u00fcn", "gr\u00fcn", "3"]
    for wrong, why in ((["a"], "is no name but list"), ("\ud800", "is not Unicode")):
        path.write_text('{"label": "a"}\n' + json.dumps({"label": wrong}))
        with pytest.raises(DataError, match=f"line 2: .* {why}"):
            labels_of(read_rows(path), "label")


def test_data_frames_by_position_of_their_columns() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["wo", "a"], ["wie", "b"]])
    assert read_rows(frame).read("1") == ["a", "b"]
    frame.columns = ["text", "text"]
    with pytest.raises(DataError, match="two columns called 'text'"):
        read_rows(frame)


@pytest.mark.parametrize("format", [Tokens(), Audio()], ids=["text", "audio"])
def test_a_file_of_another_kind_is_told_which_are_read(format: Format, tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"a\.xlsx is a file that is not read as rows. Give one of \.csv, \.tsv"):
        format.find(tmp_path / "a.xlsx")


def test_one_task_of_the_rows_to_predict_from(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,who\nwo,anna\nwer,ben\n")
    found = Tokens(group="who").find(tmp_path / "a.csv", labelled=False)
    assert found.groups == ["anna", "ben"]
    assert one_task(found, "ben", "a.csv", Transcript()).items == ["wer"]
    assert Tokens().find(tmp_path / "a.csv", labelled=False).groups is None


def test_notices_on_parts_are_one_on_all() -> None:
    parts = ["2 of 9 texts are long.", "1 texts left out: a.txt", "3 of 9 texts are long.", "1 of 4 texts are odd."]
    assert summed(parts, 22) == ["5 of 22 texts are long.", "1 of 22 texts are odd.", "1 texts left out: a.txt"]

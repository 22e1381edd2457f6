"""Tables of several kinds of columns: what the cells become, what is learned of them and kept, what is refused."""

from __future__ import annotations

import json
import logging
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import torch

from quickstudy.errors import ConfigError, DataError, QuickstudyError, ShapeError
from quickstudy.formats import Table
from quickstudy.formats.schema import Column
from quickstudy.formats.schema import learned as column_of
from quickstudy.registry import targets
from quickstudy.spec import TaskSpec
from quickstudy.testing import check_format

TEXT = """id,age,town,member,since,constant,price
1,22,Bonn,true,2024-03-01,x,10
2,,Ulm,false,2024-03-03,x,11.5
3,26,Bonn,,2024-02-29,x,12
4,30,,true,NA,x,13
"""
KINDS = ["number", "category", "boolean", "date", "nothing"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_text(TEXT)
    return path


def learned(place: Path) -> Table:
    table = Table(mixed=True, label="price", exclude=("id",))
    made = table.learn(table.find(place).items)
    assert isinstance(made, Table)
    return made


def cells(table: Table, records: object) -> torch.Tensor:
    x = table.features(table.store(records).x)
    assert isinstance(x, torch.Tensor)
    return x


def test_the_kinds_of_columns_are_learned_and_cells_are_what_they_say(place: Path) -> None:
    table = learned(place)
    assert [column.kind for column in table.schema] == KINDS and table.columns == 5
    assert table.names == ("age", "town", "member", "since", "constant")
    found = table.find(place)
    x = cells(table, found.items)
    assert found.labels == ["10", "11.5", "12", "13"] and x.shape == (4, 5, 3)
    ages = torch.tensor([22.0, 26, 30], dtype=torch.float64)
    torch.testing.assert_close(x[[0, 2, 3], 0, 0].double(), (ages - ages.mean()) / ages.std(correction=0))
    assert x[:, 0, 1].tolist() == [0, 1, 0, 0] and not x[:, 0, 2].any()
    assert x[:, 1, 2].tolist() == [1, 2, 1, 0] and x[3, 1, 1] == 1  # Bonn is the most frequent
    assert x[:, 2, 2].tolist() == [2, 1, 0, 2] and x[2, 2].tolist() == [0, 1, 0]
    days = torch.tensor([1.0, 3, 0])  # since 29 February 2024
    torch.testing.assert_close(x[:3, 3, 0], (days - days.mean()) / days.std(correction=0))
    assert not x[:, 4].any()


def test_one_schema_for_files_frames_and_lists_and_through_json(place: Path) -> None:
    pd = pytest.importorskip("pandas")
    table = learned(place)
    frame = pd.read_csv(place, parse_dates=["since"])
    of_frame = Table(mixed=True, exclude=("id", "price")).learn(frame)
    assert isinstance(of_frame, Table) and of_frame.schema == table.schema
    x = cells(table, table.find(place).items)
    torch.testing.assert_close(cells(table, frame), x)
    torch.testing.assert_close(cells(table, frame[list(table.names)].astype(object).to_numpy()), x)
    spec = TaskSpec(table, targets.make("numbers"))
    again = TaskSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec and torch.equal(cells(again.format, frame), cells(table, frame))  # type: ignore[arg-type]


def test_parquet_and_tabs_hold_the_same_rows(place: Path, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = learned(place)
    expected = cells(table, table.find(place).items)
    pd.read_csv(place, parse_dates=["since"]).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.tsv").write_text(TEXT.replace(",", "\t"))
    for other in ("a.parquet", "a.tsv"):
        found = table.find(tmp_path / other)
        torch.testing.assert_close(cells(table, found.items), expected)
        assert [float(label) for label in found.labels or []] == [10, 11.5, 12, 13]


def test_where_semicolons_separate_columns_commas_are_decimal(place: Path, tmp_path: Path) -> None:
    """As spreadsheets of many countries write tables: the same numbers, and the same texts."""
    (path := tmp_path / "semicolons.csv").write_text(
        TEXT.replace(",", ";").replace("11.5", "11,5").replace("22", "22,0")
    )
    table, other = learned(place), learned(path)
    assert table == other
    assert torch.equal(cells(table, table.find(place).items), cells(table, table.find(path).items))
    assert table.find(path).labels == ["10", "11.5", "12", "13"]
    (tmp_path / "b.csv").write_text('a;t\n1,5;"x, y"\n"1.250,25";1,2,3\n-2;4,5 m\n')
    assert [list(row.values()) for row in Table().find(tmp_path / "b.csv", labelled=False).items] == [
        [1.5, "x, y"], [1250.25, "1,2,3"], [-2.0, "4,5 m"],
    ]  # fmt: skip


def test_what_differs_from_the_schema_is_said_or_refused(place: Path) -> None:
    table = learned(place)
    row = {"age": 22, "town": "Bonn", "member": True, "since": date(2024, 3, 1), "constant": "x"}
    assert torch.equal(cells(table, [row])[0], cells(table, table.find(place).items)[0])
    stored = table.store([row | {"town": "Köln", "new": 3}])
    assert table.features(stored.x)[0, 1].tolist() == [0, 1, 0]  # type: ignore[index]
    assert "never seen (1): 'Köln' in the column 'town'" in stored.notices[0] and "new" in stored.notices[1]
    with pytest.raises(DataError, match="no column 'age', which there was"):
        table.store([{name: cell for name, cell in row.items() if name != "age"}])
    with pytest.raises(DataError, match="row 1, column 'age': 'old' is no number"):
        table.store([row | {"age": "old"}])
    with pytest.raises(DataError, match="row 1, column 'since': 'May' is no date"):
        table.store([row | {"since": "May"}])
    with pytest.raises(ShapeError, match="have 2 columns, but there were 5"):
        table.store([[1, 2]])
    with pytest.raises(DataError, match="cannot be computed with"):
        table.store([row | {"age": float("inf")}])


def test_a_typing_error_among_numbers_is_no_category(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("label,a,b\nx,1,2\ny,high,3\nx,4,5\n")
    table = Table()
    with pytest.raises(DataError, match=r"t\.csv, line 3, column 'a': the value 'high' is not a number, but 2 of 3"):
        table.learn(table.find(path).items)
    named = Table(categories=("a",))
    kinds = [column.kind for column in named.learn(named.find(path).items).schema]  # type: ignore[attr-defined]
    assert kinds == ["category", "number"]
    with pytest.raises(DataError, match=r"no column 'c' \(exclude\)"):
        Table(exclude=("c",)).find(path)


def test_tables_of_numbers_alone_stay_numbers() -> None:
    rows = [{"a": 1.0, "b": 2}, {"a": 3.0, "b": 5}]
    assert Table().learn(rows) == Table()
    assert Table(columns=2, names=("a", "b")).learn([{"a": "x", "b": "y"}]).layout["x"].shape == (2,)
    gaps = Table().learn([*rows, {"a": None, "b": 4}])
    assert gaps.layout["x"].shape == (2, 3)


def test_what_does_not_vary_and_what_names_rows_is_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": f"n{i}", "same": 4, "gaps": None, "a": i} for i in range(9)]
    with caplog.at_level(logging.WARNING, "quickstudy"):
        table = Table(mixed=True).learn(rows)
    assert [c.kind for c in table.schema] == ["category", "nothing", "nothing", "number"]  # type: ignore[attr-defined]
    said = caplog.text
    assert "'id' has another value in each of 9 rows" in said and "'same' is '4' in every row" in said
    assert "'gaps' is empty" in said
    with pytest.raises(DataError, match=r"No column of the table \(same, gaps\) varies"):
        Table(mixed=True, exclude=("id", "a")).learn(rows)


def test_numbers_of_any_offset_keep_their_differences() -> None:
    times = [datetime(2024, 1, 1, 12, 0, second) for second in range(4)]
    rows = [{"at": at, "large": 1e9 + i} for i, at in enumerate(times)]
    table = Table(mixed=True).learn(rows)
    expected = (torch.arange(4.0) - 1.5) / 1.25**0.5
    for column in (0, 1):
        torch.testing.assert_close(cells(table, rows)[:, column, 0], expected, atol=1e-3, rtol=0)  # type: ignore[arg-type]


def test_a_mixed_table_keeps_the_contract_and_is_drawn_as_it_was(place: Path) -> None:
    table = learned(place)
    check_format(table, table.find(place).items, place)
    drawing = table.draw(cells(table, table.find(place).items)[1])
    assert [cell for _, cell in drawing.cells] == ["–", "Ulm", "false", "2024-03-03", "–"]  # type: ignore[union-attr]


def test_files_of_a_folder_are_tasks(place: Path) -> None:
    (place.parent / "other.csv").write_text(TEXT.replace("Bonn", "Rom"))
    table = Table(mixed=True, label="price")
    found = table.find(place.parent)
    assert found.groups == ["other"] * 4 + ["train"] * 4 and len(found.items) == 8
    (place.parent / "third.csv").write_text(TEXT.replace("age", "years"))
    with pytest.raises(DataError, match=r"third\.csv has the columns .*'years'.*, but .*other\.csv has .*'age'"):
        table.find(place.parent)
    with pytest.raises(DataError, match="no files of rows of a table"):
        table.find(_empty(place.parent / "empty"))


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_columns_that_training_needed_cannot_be_left_out(place: Path) -> None:
    with pytest.raises(ConfigError, match="trained on the columns age, town"):
        learned(place).told(exclude=("age",))
    assert Table(mixed=True).told(label="y", exclude=("a",)) == Table(mixed=True, label="y", exclude=("a",))
    with pytest.raises(ConfigError, match="have no window"):
        Table().told(window=3)


ANYTHING: list[object] = [
    None, float("nan"), 1, -2.5, 1e300, 10**400, True, "a", "", "?", "true", "2024-01-01", "2024-13-01", "0001-01-01",
    "9999-12-31T23:59", "1e999", "--", "1_000", "\u0663", "inf", date(2020, 1, 1), datetime(1, 1, 1), timedelta(1),
    datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31), Decimal("NaN"), 1j, [1], {"a": 1}, b"x", object(),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_in_the_cells_is_read_or_refused_in_words(seed: int) -> None:
    draw, read, said = random.Random(seed), 0, [""]
    for _ in range(150):
        some = draw.sample(ANYTHING, draw.randint(1, 3))
        rows = [{name: draw.choice(some) for name in "ab"} for _ in range(draw.randint(1, 6))]
        try:
            table = Table(mixed=True).learn(rows)
            x = table.store(rows).x
            assert isinstance(x, torch.Tensor) and bool(torch.isfinite(x).all())
            assert table.draw(x[0]) is not None
            read += 1
            table.store([{name: draw.choice(ANYTHING) for name in "ab"}])
        except QuickstudyError as error:
            said.append(str(error))
    assert read > 30 and min(map(len, said[1:])) > 30


def test_a_column_without_a_name_is_neither_a_task_nor_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """pandas writes the numbers of rows so."""
    file = tmp_path / "t.csv"
    file.write_text(",size,label\n" + "".join(f"{i},{i % 3},{i}\n" for i in range(9)))
    found = Table(mixed=True).find(file)
    assert found.groups is None and list(found.items[0]) == ["size"]
    assert "a column without a name" in caplog.text and "left out" in caplog.text


def test_new_columns_in_a_file_are_said_and_missing_ones_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = Table(mixed=True).learn([{"a": "x", "b": 1.0}, {"a": "y", "b": 2.0}])
    file = tmp_path / "new.csv"
    file.write_text("b,more,a\n1,2,x\n")
    with caplog.at_level("INFO", "quickstudy"):
        assert known.find(file, labelled=False).items == [{"a": "x", "b": "1"}]
    assert "not used: more" in caplog.text
    file.write_text("b\n1\n")
    with pytest.raises(DataError, match="has no column 'a', which there was where this was learned.*empty where"):
        known.find(file, labelled=False)


@pytest.mark.parametrize("gap", ["NA", "nan", "?", ""])
def test_what_is_a_gap_elsewhere_is_no_label(tmp_path: Path, gap: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"a,label\n1,x\n2,{gap}\n")
    with pytest.raises(DataError, match=r"line 3: the label is missing.*drop the row"):
        Table(mixed=True).find(file)


def test_dates_with_the_day_first_are_dates_where_semicolons_separate_columns(tmp_path: Path) -> None:
    day_first, iso = tmp_path / "de.csv", tmp_path / "iso.csv"
    day_first.write_text("sold;label\n24.12.2023;a\n1.3.2024;b\n31.12.2024;24.12.2023\n")
    iso.write_text("sold,label\n2023-12-24,a\n2024-03-01,b\n2024-12-31,24.12.2023\n")
    read = [Table(mixed=True).find(file) for file in (day_first, iso)]
    assert read[0].items == read[1].items and read[0].labels == read[1].labels
    assert Table(mixed=True).learn(read[0].items).schema[0].kind == "date"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["$1,200.50", "$85.00", "$3.10"], "looks like numbers"),
        (["71,5 m²", "8 m²"], "looks like numbers"),
        (["80%", "81%", "80%"], "looks like numbers"),
        (["24.12.2024", "1.1.2025"], "looks like dates"),
        (["H1", "H2"], ""),
        (["10-20", "20-30"], ""),
        (["1.2.3", "1.2.4"], ""),
        (["5 km", "5 kg"], ""),
    ],
)
def test_numbers_and_dates_that_are_written_otherwise_are_said(
    caplog: pytest.LogCaptureFixture, cells: list[str], said: str
) -> None:
    assert column_of("c", cells, ["row"] * len(cells)).kind == "category"
    assert said in caplog.text and bool(said) == bool(caplog.text)
    caplog.clear()
    column_of("c", cells, ["row"] * len(cells), category=True)
    assert not caplog.text


def test_a_typing_error_among_dates_is_no_category() -> None:
    with pytest.raises(DataError, match="row 3, column 'sold': the value '2024-13-01' is not a date, but 2 of 3"):
        column_of("sold", ["2024-01-01", "2024-01-02", "2024-13-01"], ["row 1", "row 2", "row 3"])


def test_one_column_to_leave_out_may_be_given_alone() -> None:
    told = Table().told(exclude="id", label=("a", 2), categories=[3])
    assert isinstance(told, Table)
    assert (told.exclude, told.label, told.categories) == (("id",), "('a', 2)", ("3",))


def test_numbers_far_from_all_that_were_learned_are_said() -> None:
    table = Table(mixed=True).learn([{"size": float(i), "town": "ab"[i % 2]} for i in range(9)])
    near, far = ([{"size": size, "town": "a"}] for size in (20.0, 4000.0))
    assert table.doubts(table.store(near).x, {}) == ""
    assert "'size' up to 1548 spreads" in table.doubts(table.store(far).x, {})
    assert table.doubts(table.store([{"size": None, "town": "x"}]).x, {}) == ""


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (52300.0, "52300"), (0.1234567, "0.123"), (-3.0, "-3")])
def test_cells_are_shown_as_they_were_written(value: float, text: str) -> None:
    """Rounding in float32 makes no -5e-08 of a zero, and thousands are written out."""
    column = Column(name="a", centre=7.3, spread=12345.678 if abs(value) > 1 else 2.0)
    (cell,) = column.coded([value], ["row 1"], [])
    assert column.shown(cell.tolist()) == text

"""Rows with named columns, wherever they lie: CSV, JSON Lines, Parquet, Hugging Face data sets, data frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from quickstudy.errors import ConfigError, DataError, MissingExtra
from quickstudy.files import require_regular
from quickstudy.formats.places import column, folders_or_files, read_csv
from quickstudy.formats.records import Records
from quickstudy.formats.written import with_point, year_first
from quickstudy.gaps import missing

_SAVED, _SPLIT = "dataset_info.json", "dataset_dict.json"  # what save_to_disk writes for one data set, and for several


class Rows(NamedTuple):
    """Rows that are read a column at a time. columns: their names. places: of each row, for messages: 'a.csv, line 3'.

    read: all cells of a column that is there, None where a row has none. place: where they lie. commas: numbers are
    written with decimal commas.
    """

    place: str
    columns: list[str]
    places: Sequence[str]
    read: Callable[[str], list[Any]]
    commas: bool = False

    def quantities(self, name: str, dates: bool = False) -> list[Any]:
        """All cells of a column that is there, in which numbers are written with decimal points; with `dates`, those
        with the year first."""
        cells = self.read(name)
        if not self.commas:
            return cells
        return [with_point(year_first(cell) if dates else cell) for cell in cells]

    def column(self, name: str, how: str) -> list[Any]:
        """The cells of the column `name`; DataError, naming the columns there are, where there is none.

        how: the option that says which it is.
        """
        column(self.columns, name, self.place, how)
        return self.read(name)


def holds_rows(place: Any) -> bool:
    """Whether a place is a file of rows, by its suffix, or a folder or object that holds such."""
    if not isinstance(place, str | Path):
        return hasattr(place, "column_names") or (hasattr(place, "columns") and hasattr(place, "to_numpy"))
    return Path(place).suffix.lower() in READERS or any((Path(place) / name).is_file() for name in (_SAVED, _SPLIT))


def read_rows(place: Any) -> Rows:
    """The rows of a place that `holds_rows`: of a file, of a folder that `save_to_disk` of the library datasets wrote,
    or of a data set or data frame in memory.

    Raises DataError, naming file and line, for what is none, and ConfigError for what cannot be opened.
    """
    if not isinstance(place, str | Path):
        return _dataset(place, "the data set") if hasattr(place, "column_names") else _frame(place)
    path = Path(place)
    if path.is_dir():
        return _saved(path)
    return READERS.get(path.suffix.lower(), _csv)(path)


def files_of(place: str | Path | Sequence[str | Path], what: str) -> list[Path]:
    """The files of rows that a place names: a file itself, and those in a folder, sorted by name.

    what: such rows are called. Raises DataError for a folder that holds none.
    """
    files: list[Path] = []
    for one in [place] if isinstance(place, str | Path) else place:
        path = Path(one)
        if holds_rows(path) or not path.is_dir():
            files.append(path)
            continue
        found = sorted(f for f in path.iterdir() if f.suffix.lower() in READERS and not f.name.startswith("."))
        if not found:
            raise DataError(f"There are no files of {what} ({', '.join(READERS)}) in {path}. Name one, or add some.")
        files += found
    return files


def rows_or_files(
    place: Any, labelled: bool, rows: Callable[[Any, bool], Records], suffixes: Sequence[str], what: str
) -> Records:
    """The records at a place: what `rows` makes of one that `holds_rows`, or files of these suffixes.

    Without labels there may be several places, in a list.
    """
    if labelled:
        if isinstance(place, str | Path) and Path(place).is_file() and not holds_rows(place):
            raise DataError(
                f"{place} is a file that is not read as rows. Give one of {', '.join(READERS)}, or a folder with a "
                f"sub-folder of {what} for each class."
            )
        if isinstance(place, str | Path) and not Path(place).exists():
            raise DataError(f"There is no file or folder {place}. Check the path.")
        return rows(place, True) if holds_rows(place) else folders_or_files(place, suffixes, what, True)
    places = list(place) if isinstance(place, list | tuple) else [place]
    return Records.joined(
        [rows(one, False) if holds_rows(one) else folders_or_files(one, suffixes, what, False) for one in places]
    )


def labels_of(rows: Rows, label: str, option: str = "--tasks.label") -> list[str]:
    """The labels of all rows; DataError for a row without. option: by which training is told the column."""
    cells = rows.column(label, f"where you train: {option}; where you adapt: --target")
    labels = [_word(cell, where) for cell, where in zip(cells, rows.places, strict=True)]
    if "" in labels:
        where = rows.places[labels.index("")]
        raise DataError(f"{where}: the label is missing (column {label!r}). Fill it or drop the row.")
    return labels


def groups_in(rows: Rows, group: str) -> list[str] | None:
    """What each row belongs to, '' where its cell is empty; None where there is no column `group`."""
    if not group or group not in rows.columns:
        return None
    return [_word(cell, where) for cell, where in zip(rows.read(group), rows.places, strict=True)]


def _word(cell: Any, where: str) -> str:
    """A cell as a name, in Unicode's NFC: what looks alike is alike. DataError for what is none, such as a list."""
    if hasattr(cell, "__len__") and not isinstance(cell, str):
        raise DataError(f"{where}: {cell!r:.60} is no name but {type(cell).__name__}. Write it as a text.")
    word = "" if missing(cell) else normalize("NFC", str(cell)).strip()
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: the name {word!r:.60} is not Unicode ({error.reason}). Correct it.") from error
    return word


def _csv(path: Path) -> Rows:
    columns, rows, lines, commas = read_csv(path)
    at = {name: i for i, name in enumerate(columns)}
    places = [f"{path}, line {line}" for line in lines]
    return Rows(str(path), columns, places, lambda name: [cells[at[name]] for cells in rows], commas)


def _jsonl(path: Path) -> Rows:
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    for number, line in enumerate(_bytes(path, "a file of JSON Lines").split(b"\n"), 1):
        place = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: that is no JSON in UTF-8 ({error}). Write one object on each line.") from error
        if not isinstance(row, dict):
            raise DataError(f'{place}: found {line[:40]!r}, expected an object with names: {{"text": …}}.')
        rows.append(row)
        places.append(place)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return Rows(str(path), columns, places, lambda name: [row.get(name) for row in rows])


def _bytes(path: Path, what: str) -> bytes:
    require_regular(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Give the path of {what}.") from error


def _parquet(path: Path) -> Rows:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "data", "Reading Parquet files") from error
    require_regular(path)
    try:
        columns = list(parquet.read_schema(path).names)
        count = parquet.read_metadata(path).num_rows
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {path}. Check the path.") from error
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a Parquet file ({error}). Write it anew.") from error

    def read(name: str) -> list[Any]:
        try:
            cells: list[Any] = parquet.read_table(path, columns=[name]).column(name).to_pylist()
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"The column {name!r} of {path} cannot be read ({error}). Write the file anew.") from error
        return cells

    return Rows(str(path), columns, [f"{path}, row {i + 1}" for i in range(count)], read)


def _saved(folder: Path) -> Rows:
    """A folder that `save_to_disk` wrote."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "data", "Reading a folder that save_to_disk wrote") from error
    try:
        read = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} cannot be read as a data set ({error}). Save it again: save_to_disk.") from error
    return _dataset(read, str(folder))


def _dataset(held: Any, place: str) -> Rows:
    """A `datasets.Dataset`. Numbers that stand for classes become the classes' names."""
    if isinstance(held, dict):
        raise ConfigError(f"{place} holds the splits {', '.join(map(repr, held))}. Give one of them.")

    def read(name: str) -> list[Any]:
        cells, names = list(held[name]), getattr(held.features[name], "names", None)
        if names is None:
            return cells
        return [None if cell is None or cell < 0 else names[cell] for cell in cells]

    return Rows(place, list(held.column_names), [f"{place}, row {i + 1}" for i in range(len(held))], read)


def _frame(frame: Any) -> Rows:
    places = [f"the data frame, row {i + 1}" for i in range(len(frame))]
    names = [str(name) for name in frame.columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"The data frame has two columns called {twice[0]!r}. Rename one.")
    return Rows("the data frame", names, places, lambda name: frame.iloc[:, names.index(name)].tolist())


READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
"""By a file's suffix."""

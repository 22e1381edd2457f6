"""Where records lie: files in one sub-folder for each class, or lines of a CSV file."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from quickstudy.errors import ConfigError, DataError, first_of
from quickstudy.files import require_regular
from quickstudy.formats.records import Records

_OF_SYSTEMS = ("Thumbs.db", "desktop.ini", "Icon\r")
_PACKED = {b"PK\x03\x04": "an archive, as spreadsheets are", b"\x1f\x8b": "compressed"}  # by their first bytes
_MARKS = (",", ";", "\t", "|")  # of the first lines of tables, and of those that spreadsheets write where , is decimal
_log = logging.getLogger("quickstudy")


def folders_or_files(
    place: str | Path | Sequence[str | Path], suffixes: Sequence[str], what: str, labelled: bool
) -> Records:
    """Files of these suffixes, sorted by name: labelled by the sub-folder they lie in, or all that are named.

    Without labels, folders are looked through at any depth; a file that is named is taken whatever its suffix.
    """
    if labelled:
        if not isinstance(place, str | Path):
            raise ConfigError(f"Give one folder with a sub-folder of {what} for each class, found {list(place)}.")
        return _by_class(Path(place), suffixes, what)
    files: list[Path] = []
    places = [place] if isinstance(place, str | Path) else list(place)
    for path in map(Path, places):
        if path.is_dir():
            files += _say_left_out(sorted(_below(path)), suffixes, what)
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"There is no file {path}. Check the path.")
    if not files:
        where = ", ".join(map(str, places))
        raise DataError(f"There are no {what} ({', '.join(suffixes)}) in {where}. Name files or folders of them.")
    return Records(files, [str(path) for path in files])


def _below(folder: Path) -> Iterator[Path]:
    """All files in a folder and in those within it, but hidden ones. Raises OSError for one that cannot be read."""

    def refuse(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _say_left_out(paths: Sequence[Path], suffixes: Sequence[str], what: str) -> list[Path]:
    """The files of these suffixes; the others are named in a warning, but for those that systems put everywhere."""
    counts = [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    others = [path for path in paths if path.suffix.lower() not in suffixes and path.name not in _OF_SYSTEMS]
    if others:
        _log.warning(
            "%d files left out, which are no %s that can be read (%s): %s. Convert them, if they are meant.",
            len(others), what, ", ".join(suffixes), first_of(others),
        )  # fmt: skip
    return counts


def class_folders(root: str | Path, what: str = "files", suffix: str = ".png") -> list[Path]:
    """The sub-folders of `root`, one a class, sorted by name; raises DataError if there are fewer than two."""
    folders = sorted(path for path in _folder(root).iterdir() if path.is_dir() and not path.name.startswith("."))
    shown = f"cats/1{suffix}, cats/2{suffix}, dogs/1{suffix}, …"
    layout = f"Put the {what} of each class in a sub-folder of its own: {shown}"
    if not folders:
        raise DataError(f"{root} has no sub-folders. {layout}")
    if len(folders) == 1:
        raise DataError(f"{root} has one class only, {folders[0].name!r}; telling classes apart needs two. {layout}")
    return folders


def _folder(path: str | Path) -> Path:
    if Path(path).exists() and not Path(path).is_dir():
        raise DataError(f"{path} is a file, but a folder is needed, with a sub-folder for each class. Give one.")
    if not Path(path).is_dir():
        raise DataError(f"There is no folder {path}. Check the path.")
    return Path(path)


def _by_class(root: Path, suffixes: Sequence[str], what: str) -> Records:
    paths: list[Path] = []
    labels: list[str] = []
    folders = class_folders(root, what, suffixes[0])
    below = {folder: sorted(_below(folder)) for folder in folders}
    counts = set(_say_left_out([path for files in below.values() for path in files], suffixes, what))
    for folder, found in below.items():
        files = [path for path in found if path in counts]
        if not files:
            raise DataError(
                f"The class folder {folder} holds no readable {what} ({', '.join(suffixes)}). Add some or remove it."
            )
        paths += files
        labels += [normalize("NFC", folder.name)] * len(files)  # what looks alike is alike
    deeper = [path for path in paths if len(path.relative_to(root).parts) > 2]
    if deeper:
        _log.warning(
            "%d %s lie in sub-folders of their class, the first in %s: they are read as of the class %r. If these are "
            "classes of their own, give the folder above them.",
            len(deeper), what, deeper[0].parent, deeper[0].relative_to(root).parts[0],
        )  # fmt: skip
    return Records(paths, [str(path) for path in paths], labels)


class Lines(NamedTuple):
    """What a CSV file holds. columns: their names. rows: the cells of every line that is not empty, and numbers: which
    these are. commas: numbers have decimal commas, as where semicolons separate the columns."""

    columns: list[str]
    rows: list[list[str]]
    numbers: list[int]
    commas: bool


def read_csv(path: str | Path) -> Lines:
    """The lines of a CSV file, whose columns are separated by commas, semicolons or tabs.

    Raises ConfigError for a file that cannot be opened, DataError, naming the line, for one that is no table.
    """
    rows: list[list[str]] = []
    numbers: list[int] = []
    text = _text(path)
    told = re.match('sep=([^\r\n"])\r?\n', text)  # a line of spreadsheets that says what separates the columns
    text = text[told.end() :] if told else text
    before = csv.field_size_limit(len(text) + 1)
    try:
        mark = told[1] if told else _mark(text)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
        before_names = 1 if told else 0
        columns = [name.strip() for name in next(lines, [])]
        for cells in lines:
            if not cells:
                continue
            number = before_names + lines.line_num
            if len(cells) != len(columns):
                raise DataError(
                    f"{path}, line {number}: {len(cells)} cells, but {len(columns)} columns. Correct it: a "
                    'text with a comma in it stands in quotation marks, "so, for instance".'
                )
            rows.append(cells)
            numbers.append(number)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {len(rows) + 2} or after it: a cell is not as CSV files have it ({error}). A "
            "quotation mark that opens it must close it, and one within it is doubled."
        ) from error
    finally:
        csv.field_size_limit(before)
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise DataError(f"{path} has two columns called {twice!r}. Rename one.")
    return Lines(columns, rows, numbers, mark == ";")


def _text(path: str | Path) -> str:
    """What a file in UTF-8 holds, without a mark of that at its beginning."""
    require_regular(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Give the path of a CSV file.") from error
    if packed := next((what for mark, what in _PACKED.items() if data.startswith(mark)), ""):
        raise DataError(f"{path} is {packed}, and no text. Save its table as CSV.")
    if data[:64].lstrip()[:1] in (b"[", b"{"):
        raise DataError(f"{path} looks like JSON. Write an object on each line, in a file that ends in .jsonl.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: that is no CSV file in UTF-8 ({error.reason} at byte {error.start}). Save it as "
            "'CSV UTF-8'."
        ) from error


def _mark(text: str) -> str:
    """What separates the columns: of commas, semicolons, tabs and bars that which makes most of the first line."""
    first = re.split("[\r\n]", text, maxsplit=1)[0]
    return max(_MARKS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))


def require_lines(rows: Sequence[Sequence[str]], path: str | Path) -> None:
    """DataError for a file that names columns and holds nothing."""
    if not rows:
        raise DataError(f"{path} has no line below the names of its columns. Write one for each record.")


def number_in(cell: str, where: str) -> float:
    """The finite number that a cell holds; DataError, naming the place, for any other."""
    import math

    try:
        number = float(cell)
    except ValueError:
        raise DataError(
            f"{where}: the value {cell!r:.80} is not a number. Write numbers with a decimal point, fill gaps, and take "
            "out columns of something else."
        ) from None
    if not math.isfinite(number):
        raise DataError(f"{where}: the value is {cell.strip()}. Fill it, from its neighbours for instance.")
    return number


def column(columns: Sequence[str], name: str, path: str | Path, how: str) -> int:
    """The number of the column called `name`. how: the option that says which it is."""
    if name not in columns:
        raise DataError(
            f"{path} has no column {name!r}; its first line names {list(columns) or 'none'}. Name the columns in the "
            f"first line, or say which it is ({how})."
        )
    return columns.index(name)


def one_file(place: str | Path | Sequence[str | Path]) -> Path:
    """The one file that a place names."""
    places = [place] if isinstance(place, str | Path) else list(place)
    if len(places) != 1:
        raise ConfigError(f"Give one CSV file, found {len(places)}: {', '.join(map(str, places))}.")
    return Path(places[0])

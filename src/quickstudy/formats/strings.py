"""Texts as they come: strings in memory, cells of rows, files; every one that is none is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quickstudy.errors import DataError, ShapeError
from quickstudy.files import require_regular
from quickstudy.formats.records import Broken, Placed
from quickstudy.formats.rows import READERS
from quickstudy.gaps import missing

OTHERS = (".json", ".xlsx", ".xls", ".ods", ".docx", ".doc", ".odt", ".pdf", ".gz", ".zip")
"""Suffixes of files that hold texts, but neither as rows that are read here, nor one text alone."""


def cell(held: Any, place: str) -> Placed:
    """The text in a cell of a row; an empty one where it holds nothing. DataError for what is no text."""
    if missing(held):
        return Placed("", place)
    if not isinstance(held, str):
        raise DataError(f"{place}: {held!r:.60} is no text but {type(held).__name__}. Write it as a text.")
    return Placed(held, place)


def place_of(text: str, index: int) -> str:
    """Where a text was found, or which one it is."""
    return text.place if isinstance(text, Placed) else f"Text {index}"


def read(records: Any, broken: Broken) -> tuple[list[str], list[int], list[str]]:
    """Texts of strings and of files, which of the records they are, and what is said of those that were left out."""
    if isinstance(records, str | Path):
        records = [records]
    items = records.tolist() if hasattr(records, "tolist") else records
    if not isinstance(items, Sequence):
        raise ShapeError(f"Texts are strings, in a list or a column, found {type(records).__name__}. Give such.")
    texts: list[str] = []
    kept: list[int] = []
    left_out: list[str] = []
    for index, item in enumerate(items):
        try:
            texts.append(_text(item, index))
        except DataError as error:
            if broken == "refuse":
                raise
            left_out.append(str(error))
        else:
            kept.append(index)
    return texts, kept, left_out


def _text(item: Any, index: int) -> str:
    """The text of one item; DataError, naming it, where there is none."""
    if isinstance(item, Path):
        item = Placed(_file(item), str(item))
    if not isinstance(item, str):
        raise DataError(f"Text {index} is no string but {type(item).__name__}: {item!r:.60}. Give strings.")
    place = place_of(item, index)
    if not item.strip():
        raise DataError(f"{place}: the text is empty. Fill it, or take it out.")
    try:
        item.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: the text {item!r:.60} is not Unicode ({error.reason}). Correct it.") from error
    return item


def _file(path: Path) -> str:
    require_regular(path)
    if path.suffix.lower() in READERS:
        raise DataError(f"{path} holds rows, and stands where one text does. Give it by itself, not in a list.")
    if path.suffix.lower() in OTHERS:
        raise DataError(
            f"{path} is read neither as rows ({', '.join(READERS)}) nor as a text (.txt). Save it as one of these: a "
            "table as 'CSV UTF-8', for instance."
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}). Save it in UTF-8, or take it out."
        ) from error

"""Records that came over a network: what they may be, and how large. None of them is ever taken for a path."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from quickstudy.errors import DataError

_DEEPEST = 4  # axes of numbers
_LONGEST_NAME = 60


class Most(NamedTuple):
    """pixels: of a picture. seconds: of a sound. length: characters of a text, numbers of an array or of a series, and
    columns of a row."""

    pixels: int = 25_000_000
    seconds: float = 60.0
    length: int = 20_000


class Upload(io.BytesIO):
    """The bytes of a file that was sent. name: what it was called there, for messages alone."""

    def __init__(self, data: bytes, name: str = "") -> None:
        super().__init__(data)
        shown = "".join(c for c in name.replace("\\", "/").rpartition("/")[2] if c.isprintable()).strip()
        self.name = shown[:_LONGEST_NAME] or "a file"


def file_of(record: Any, what: str) -> Upload:
    """A record that must be a file."""
    if not isinstance(record, Upload):
        raise DataError(
            f"The {what} here are files, found {_kind(record)}. Send the bytes of a file: as a part of a form (files), "
            'or in base64 ({"file": "…"}).'
        )
    if not record.getbuffer().nbytes:
        raise DataError(f"{record.name} is empty: it has 0 bytes. Send another.")
    return record


def text_of(record: Any, most: Most) -> str:
    """A record that is a text: one, or a file of one in UTF-8."""
    if isinstance(record, Upload):
        try:
            record = record.getvalue().decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{record.name} is no text in UTF-8 ({error.reason}). Save it as UTF-8.") from error
    if not isinstance(record, str):
        raise DataError(f"The records here are texts, found {_kind(record)}. Send strings.")
    if len(record) > most.length:
        raise DataError(f"A text has {len(record)} characters, more than the limit of {most.length}. Cut it.")
    return record


def numbers_of(record: Any, most: Most) -> Any:
    """A record that is a list of numbers, or such lists in each other."""
    count = _counted(record, _DEEPEST)
    if count > most.length:
        raise DataError(f"A record has {count} numbers, more than the limit of {most.length}. Cut it.")
    return record


def _counted(record: Any, depth: int) -> int:
    if not isinstance(record, list) or not depth:
        raise DataError(f"The records here are lists of numbers, found {_kind(record)}. Send numbers.")
    count = 0
    for one in record:
        if isinstance(one, list):
            count += _counted(one, depth - 1)
        else:
            _require_number(one)
            count += 1
    return count


def _require_number(one: Any) -> None:
    if isinstance(one, bool) or not isinstance(one, int | float) or not math.isfinite(_float(one)):
        raise DataError(f"The records here are lists of numbers, found {_kind(one)} among them. Send numbers.")


def _float(one: int | float) -> float:
    try:
        return float(one)
    except OverflowError:
        return math.inf


def row_of(record: Any, most: Most) -> Any:
    """A record that is a row: cells by the names of their columns, or in their order."""
    if not isinstance(record, Mapping | list) or not record:
        raise DataError(
            f"The records here are rows, found {_kind(record)}. Send an object for each, with the names of the columns."
        )
    if len(record) > most.length:
        raise DataError(f"A row has {len(record)} columns, more than the limit of {most.length}.")
    for one in record.values() if isinstance(record, Mapping) else record:
        if isinstance(one, str) and len(one) > most.length:
            raise DataError(f"A cell has {len(one)} characters, more than the limit of {most.length}. Cut it.")
        if isinstance(one, int | float) and not math.isfinite(_float(one)):
            raise DataError("A cell holds a number that is too large, or none. Leave it empty: null.")
        if one is not None and not isinstance(one, str | int | float):
            raise DataError(f"A cell is a number, a text or empty (null), found {_kind(one)}.")
    return record


def _kind(record: Any) -> str:
    kinds: list[tuple[Any, str]] = [
        (Upload, "a file"), (str, "a text"), (bool, "true or false"), (int | float, "a number"), (list, "a list"),
        (Mapping, "an object"), (type(None), "null"),
    ]  # fmt: skip
    return next((told for kind, told in kinds if isinstance(record, kind)), type(record).__name__)

"""Files that are replaced whole or not at all, and what to do where there is no room."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from quickstudy.errors import RunError
from quickstudy.files import writing

GO_ON = "go on with --resume"
"""What to do after training could not write."""


def write_atomically(path: Path, data: bytes, then: str = "try again") -> None:
    """Replace the file at `path` by `data`, whole or not at all. then: what the error advises once there is room.

    Raises RunError if the disk is full or the folder cannot be written; the old file is then intact.
    """
    try:
        with writing(path) as file:
            file.write(data)
    except OSError as error:
        raise RunError(
            f"Could not write {path}: {error.strerror}. What was there before is intact. "
            f"Free space or make the folder writable, then {then}."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` in UTF-8; what has no place there, as in names of files, is written out."""
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], bom: bool = False) -> None:
    """Replace the file at `path` by a table in UTF-8, with its columns named in the first line.

    Texts that spreadsheets would take for formulas get an apostrophe before them, as their users would write it.
    bom: begin with the byte order mark by which Excel knows the encoding; others may take it for a part of a name.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(map(_harmless, columns))
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    write_text(path, ("\ufeff" if bom else "") + lines.getvalue())


def cell_text(cell: Any) -> str:
    """A cell of a table as text: numbers with six digits."""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _harmless(cell: Any) -> str:
    text = cell_text(cell)
    return f"'{text}" if isinstance(cell, str) and re.match(r"\s*[=+\-@\t\r]", text) else text

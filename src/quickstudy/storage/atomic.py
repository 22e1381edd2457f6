"""Files that are replaced whole or not at all, and what to do where there is no room."""

from __future__ import annotations

from pathlib import Path

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

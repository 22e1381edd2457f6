"""Zip archives of others, whose members are read one by one and never unpacked to disk."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quickstudy.errors import DataError
from quickstudy.files import require_regular

LARGEST = 10_000_000
"""Bytes that one member may unpack to."""
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, UnicodeError, OSError)


class Archive:
    """The members of a zip archive by name, in the order of their names; use `archive`."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path, self._file = path, file
        named = [info for info in file.infolist() if info.filename]  # zipfile takes for granted that all are
        members = (info for info in named if not info.is_dir() and not info.filename.startswith("__MACOSX"))
        self.members = {info.filename: info for info in sorted(members, key=lambda info: info.filename)}

    def read(self, name: str) -> bytes:
        """The content of a member; DataError if it is encrypted, or unpacks to more than 10 MB."""
        info = self.members[name]
        if info.flag_bits & 1:
            raise DataError(f"{self.path} is encrypted. Unpack it, and pack it again without a password.")
        if info.file_size > LARGEST:
            raise DataError(
                f"{name} in {self.path} unpacks to {info.file_size:,} bytes, and {LARGEST:,} are the most. Take it "
                "out of the archive."
            )
        return self._file.read(info)


@contextmanager
def archive(path: str | Path) -> Iterator[Archive]:
    """The archive at `path`, open; DataError, naming it, for one that is missing, damaged or no zip archive."""
    require_regular(path)
    try:
        with zipfile.ZipFile(path) as file:
            yield Archive(Path(path), file)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check the path.") from error
    except _BROKEN as error:
        raise DataError(f"{path} is not a complete zip archive ({str(error)[:200]}). Fetch it again.") from error

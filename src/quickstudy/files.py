"""Files that appear whole or not at all, and where those that are prepared live."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from quickstudy.errors import DataError


def cache_folder(*parts: str) -> Path:
    """The user's cache folder for quickstudy, $XDG_CACHE_HOME/quickstudy or ~/.cache/quickstudy; not created here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "quickstudy", *parts)


def require_regular(path: str | Path) -> None:
    """DataError for a pipe, a device or a folder, which would be waited for or read without end.

    A file that is not there, or cannot be looked at, is left to whoever opens it.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFDIR: "a folder", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(mode), "a device")
        raise DataError(f"{path} is {what}, not a file. Give a file; what a pipe says can be saved to one first.")


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` when the block ends well; readers see the old file or the new one.

    Written to a temporary file beside it, fsynced, renamed. If anything raises (OSError for a full disk or a folder
    that cannot be written), what was at `path` before is intact and nothing is left behind. What writers of `path` left
    behind when they were killed is removed. Raises DataError where `path` is a pipe, a device or a folder: renaming
    would put a file in its place, for whole machines where it is /dev/null.
    """
    require_regular(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in leftovers(path.parent, glob.escape(path.name)):
        _remove_dead(old)
    with appearing(path, *_temporary(path)) as file:
        yield file


@contextmanager
def appearing(path: Path, temporary: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The open file `temporary`, which is brought to the disk and called `path` when the block ends well, and else is
    gone."""
    with file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    synced(path.parent)  # so that the new name, too, survives a loss of power


def synced(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    held = os.open(path, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def leftovers(folder: Path, name: str) -> list[Path]:
    """What may be left in `folder` by killed writers of files called `name`, in which * stands for anything."""
    ours = (path for path in folder.glob(f".{name}.*") if re.search(r"\.[0-9a-f]{6,16}$", path.name))
    return [path for path in ours if path.is_file()]


def _temporary(path: Path) -> tuple[Path, IO[bytes]]:
    """A new file beside `path`, locked for as long as it is open, so that it is not taken for a leftover.

    Made by `open` and not by `tempfile`, whose files are their owner's alone: the system itself takes off what the
    umask forbids, which a process with several threads cannot even ask for.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        file = temporary.open("xb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks, where nobody can lock it to remove it, either
            return temporary, file
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # somebody took it for a leftover before it was locked


def _remove_dead(path: Path) -> None:
    """Remove what a killed process left, but not what another is writing at this moment."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:  # it is being written, is gone already, or is not ours to remove
        return

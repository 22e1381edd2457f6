"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` when the block ends well; readers see the old file or the new one.

    Written to a temporary file beside it, fsynced, renamed. If anything raises (OSError for a full disk or a folder
    that cannot be written), what was at `path` before is intact and nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made by `open` and not by `tempfile`, whose files are their owner's alone: the system itself takes off what the
    # umask forbids, which a process with several threads cannot even ask for.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with temporary.open("xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # so that the new name, too, survives a loss of power
    finally:
        os.close(folder)

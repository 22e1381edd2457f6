"""Fetching files that are needed."""

from __future__ import annotations

from pathlib import Path

from quickstudy.errors import DataError
from quickstudy.files import writing
from quickstudy.terminal import console, words


class DownloadError(DataError):
    """A file that is needed is not here and could not be fetched."""


def download(url: str, path: Path, md5: str, timeout: float = 20.0) -> None:
    """Fetch `url` to `path`, with a progress bar, and check its MD5 digest before it gets its name.

    timeout: seconds without an answer. Raises DownloadError, in one line, if the server cannot be reached, `path`
    cannot be written, or the file is not the one expected.
    """
    import hashlib
    import http.client
    import urllib.request

    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    digest = hashlib.md5(usedforsecurity=False)
    columns = words("task.description"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    try:
        with urllib.request.urlopen(url, timeout=timeout) as reply, writing(path) as file:
            with Progress(*columns, console=console(stderr=True), transient=True) as progress:
                length = reply.headers.get("Content-Length")
                bar = progress.add_task(f"Downloading {path.name}", total=int(length) if length else None)
                while chunk := reply.read(1 << 18):
                    file.write(chunk)
                    digest.update(chunk)
                    progress.advance(bar, len(chunk))
            if digest.hexdigest() != md5:
                raise DownloadError(
                    f"{url} has the MD5 digest {digest.hexdigest()}, expected {md5}: the download was cut short or the "
                    f"file has changed, so it was not kept. Try again, or put the right file at {path}."
                )
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(
            f"Could not fetch {url} ({error}). Connect to the network, or download it elsewhere and put it at {path}."
        ) from error

"""Omniglot's archives: found, or fetched from their authors; read without unpacking; decoded once, then cached."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from quickstudy.episode import leaves
from quickstudy.errors import DataError
from quickstudy.files import cache_folder
from quickstudy.formats.base import Format
from quickstudy.formats.decoding import decode, fit
from quickstudy.formats.progress import with_progress
from quickstudy.storage.archive import Archive, archive
from quickstudy.tasks.cached import read_cached, write_cached
from quickstudy.tasks.download import download

URL = "https://github.com/brendenlake/omniglot/raw/master/python/{}.zip"
MD5 = {
    "images_background": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
    "images_background_small1": "e704a628b5459e08445c13499850abc4",
    "images_background_small2": "b75a71a51d3b13f821f212756fe481fd",
}
"""MD5 digests of the authors' archives; checked when downloading only, as a re-zipped copy holds the same images."""
_MOST_PIXELS = 1_000_000  # drawings are 105 x 105
_AT_ONCE = 500  # drawings
_TOGETHER = 12_000_000  # pixels
_log = logging.getLogger("quickstudy")


@dataclass(frozen=True)
class Drawings:
    """Drawings of characters. x: (n, 1, size, size) uint8, ink 255; labels: (n,) int64 into characters."""

    x: Tensor
    labels: Tensor
    characters: list[str]


def places(root: str | None = None) -> list[Path]:
    """The folders in which the archives are looked for, in this order."""
    if root is not None:
        return [Path(root)]
    data = os.environ.get("QUICKSTUDY_DATA")
    return [*([Path(data, "omniglot")] if data else []), cache_folder("omniglot")]


def omniglot_available(
    root: str | None = None, archives: Sequence[str] = ("images_background", "images_evaluation")
) -> bool:
    """Whether the archives lie where `omniglot` looks for them, so that it needs no network."""
    return all(any((place / f"{name}.zip").is_file() for place in places(root)) for name in archives)


def find(name: str, root: str | None = None) -> Path:
    """The path of an archive, downloaded into the user's cache folder if it is nowhere; raises DataError."""
    for place in places(root):
        if (place / f"{name}.zip").is_file():
            return place / f"{name}.zip"
    if root is not None:
        raise DataError(f"There is no {name}.zip in {root}. Put it there, or leave root out to have it downloaded.")
    path = cache_folder("omniglot") / f"{name}.zip"
    download(URL.format(name), path, MD5[name])
    return path


def read_archive(path: Path, size: int, cut: Format | None = None) -> Drawings:
    """Every drawing of an archive ('…/Alphabet/characterNN/XXXX_YY.png'), characters and drawings sorted by name.

    Pixels are averaged over areas from 105 x 105 to size x size, and inverted: 255 is ink, 0 is paper. cut: a format
    that makes another square of `size` of each drawing. The decoded
    tensor is kept in the user's cache folder under a name that follows from the archive's contents.
    """
    with archive(path) as drawings:
        members = [info for name, info in drawings.members.items() if name.endswith(".png")]
        names = ["/".join(PurePosixPath(info.filename).parts[-3:-1]) for info in members]
        characters = sorted(set(names))
        if not characters or "/" not in characters[0]:
            raise DataError(f"{path} holds no images 'Alphabet/characterNN/*.png': it is not an Omniglot archive.")
        number = {name: i for i, name in enumerate(characters)}
        labels = torch.tensor([number[name] for name in names])
        contents = hashlib.sha256("".join(f"{i.filename}:{i.CRC}:{i.file_size};" for i in members).encode())
        cached = (
            cache_folder("omniglot")
            / f"{path.stem}-{size}{'' if cut is None else '-cut'}-{contents.hexdigest()[:16]}.safetensors"
        )
        shape = (len(members), 1, size, size)
        x = read_cached(cached, lambda x: x.shape == shape and x.dtype == torch.uint8)
        if x is None:
            files = [info.filename for info in members]
            x = _decode(drawings, files, size) if cut is None else _cut(drawings, files, cut)
            write_cached(cached, x)
    return Drawings(x, labels, characters)


def _cut(drawings: Archive, names: list[str], format: Format) -> Tensor:
    """Each drawing as a format makes it from a file."""
    parts = [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
    read = with_progress(parts, f"Decoding {drawings.path.name}")
    return torch.cat([leaves(format.store([io.BytesIO(drawings.read(name)) for name in part]).x)[0] for part in read])


def _decode(drawings: Archive, names: list[str], size: int) -> Tensor:
    x = torch.empty((len(names), 1, size, size), dtype=torch.uint8)
    alike: list[Tensor] = []  # drawings of one shape in a row: shrinking many at once is what makes this fast
    for done, name in enumerate(with_progress(names, f"Decoding {drawings.path.name}")):
        file = io.BytesIO(drawings.read(name))
        pixels = decode(file, 1, f"{drawings.path.name}/{name}", _MOST_PIXELS, size).pixels
        if alike and (len(alike) * pixels.numel() >= _TOGETHER or alike[0].shape != pixels.shape):
            x[done - len(alike) : done] = 255 - fit(torch.stack(alike), size)
            alike = []
        alike.append(pixels)
    x[len(names) - len(alike) :] = 255 - fit(torch.stack(alike), size)
    return x

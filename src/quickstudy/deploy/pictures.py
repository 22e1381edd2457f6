"""Answers that are masks as files: a picture of the classes for each image, and one of the doubt."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import ConfigError
from quickstudy.formats.base import Format
from quickstudy.storage.atomic import write_atomically

_DOUBT = ".doubt.png"
_MOST = 256  # classes that a picture with a palette can tell apart


def write_masks(folder: Path, names: Sequence[str], maps: Tensor, records: Sequence[Any], format: Format) -> list[Path]:
    """Write a PNG file for each of n records, as large as the record itself: the number of a class for each pixel.

    Beside `NAME.png` stands `NAME.doubt.png`: grey, 255 where the probability of the class that is said is 0. names: of
    the records. maps: probabilities (n, N, h, w). Returns the files of the classes; ConfigError where two are called
    alike.
    """
    if maps.shape[1] > _MOST:
        raise ConfigError(f"Pictures tell at most {_MOST} classes apart, and there are {maps.shape[1]}.")
    files = [folder / f"{Path(name).stem}.png" for name in names]
    twice = next((file for file in files if files.count(file) > 1), None) if len(set(files)) < len(files) else None
    if twice is not None:
        raise ConfigError(f"Two images would both become {twice}. Predict from one folder at a time.")
    for file, one, record in zip(files, maps, records, strict=True):
        sure, ids = _likeliest(one, record, format)
        write_atomically(file, _png(ids, coloured=True))
        doubt = ((1 - sure).clamp(0, 1) * 255).round().to(torch.uint8)
        write_atomically(file.with_name(file.stem + _DOUBT), _png(doubt))
    return files


def _likeliest(maps: Tensor, record: Any, format: Format) -> tuple[Tensor, Tensor]:
    """Probability and number (uint8) of the likeliest of N classes for each pixel of a record, (height, width); one
    class after another, as photographs are large."""
    sure = format.pixels.as_given(maps[:1], record)[0]
    ids = torch.zeros(sure.shape, dtype=torch.uint8)
    for number in range(1, len(maps)):
        own = format.pixels.as_given(maps[number : number + 1], record)[0]
        ids[own > sure] = number
        sure = torch.maximum(sure, own)
    return sure, ids


def _png(values: Tensor, coloured: bool = False) -> bytes:
    from PIL import Image

    picture = Image.fromarray(values.cpu().numpy())
    if coloured:
        picture.putpalette([part for i in range(_MOST) for part in _colour(i)])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _colour(number: int) -> Iterator[int]:
    """Red, green and blue of a class: its bits in turn, the lowest the brightest, so that small numbers are far apart
    and 0 is black, as in PASCAL VOC (Everingham et al. 2015)."""
    for channel in range(3):
        yield sum((number >> (3 * place + channel) & 1) << (7 - place) for place in range(3))

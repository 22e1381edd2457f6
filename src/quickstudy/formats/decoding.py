"""Image files as tensors: any common file format, mode and size in; uint8 (C, H, W) out, or a DataError."""

from __future__ import annotations

import io
import math
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from quickstudy.errors import DataError, MissingExtra
from quickstudy.files import require_regular
from quickstudy.formats.received import Upload

if TYPE_CHECKING:
    from PIL.Image import Image

File = str | Path | bytes | IO[bytes] | Any
"""What is decoded: a file, its bytes, an image of Pillow, or an array of pixels."""
MAX_PIXELS = 50_000_000  # that are decoded to the full; larger images are reduced meanwhile, or afterwards
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".gif", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm",
)  # fmt: skip
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "AVIF", "HEIF", "TIFF", "PPM")  # no EPS: it would run Ghostscript
_OF_EXTRA = (".heic", ".heif")
_LARGEST = {"JPEG": 5, "MPO": 5}  # times MAX_PIXELS, above which an image is not even reduced; for others, 2
_DENSE = 200  # pixels for each byte of a file, above which a large image is nothing but size
_THIN = 500  # sides of which one is that many times the other show nothing in a square
_ORIENTATION = 0x0112  # the tag of EXIF
_FINER = 4  # times the size that is wanted, to which large images are reduced by whole factors first
_PARTS = 1 << 24  # of a pixel, at most, that the size of a reduced image is told in
_DRAFT = 2  # times the size that is wanted, at which JPEG files are decoded at least
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)


class Decoded(NamedTuple):
    """An image. pixels: (C, H, W) uint8; mode: Pillow's name of the file's pixel format; size: (W, H) in its file.

    extent: height and width in pixels; where an image was reduced, its last rows and columns may be parts of pixels.
    """

    pixels: Tensor
    mode: str
    size: tuple[int, int]
    extent: tuple[float, float]


def is_picture(one: Any) -> bool:
    """Whether it is an image of Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(one, pillow.Image)


def is_frame(one: Any) -> bool:
    """Whether it is an array of pixels as cameras and videos give them: (height, width) or (height, width, 3 or 4)."""
    shape: tuple[int, ...] = getattr(one, "shape", ())
    return (
        type(one).__module__ == "numpy"
        and str(one.dtype) == "uint8"
        and (len(shape) == 2 or (len(shape) == 3 and shape[-1] in (3, 4)))
    )


def is_frames(several: Any) -> bool:
    """Whether it is such arrays, of one size, in one array (n, height, width, 3 or 4)."""
    return len(getattr(several, "shape", ())) == 4 and len(several) > 0 and is_frame(several[0])


def name_of(file: File) -> str:
    """What a file is called, for people."""
    if isinstance(file, str | Path):
        return str(file)
    return str(getattr(file, "filename", "") or getattr(file, "name", "") or "an image")


@contextmanager
def pillow(file: File) -> Iterator[Image]:
    """An image of Pillow, turned as its camera says; DataError, naming the file, for what is none or is broken."""
    from PIL import Image, ImageOps

    name = name_of(file)
    if isinstance(file, str | Path):
        require_regular(file)
        _require_extra(Path(file))
    try:
        with _opened(file) as image:
            _require_size(image, file, name, MAX_PIXELS, None)
            yield ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}. Check the path.") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} is far larger than the limit of {MAX_PIXELS} pixels; it was not decoded.") from error
    except _BROKEN as error:
        raise DataError(f"{name} cannot be read as an image ({error}). Replace or remove it.") from error


def oriented(file: File) -> tuple[int, int]:
    """Width and height of an image as it is seen, of a file without decoding it; of features (C, H, W) too."""
    shape: tuple[int, ...] = getattr(file, "shape", ())
    if len(shape) == 3 and not is_frame(file):
        return shape[2], shape[1]
    with _opened(file) as image:
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.size[1], image.size[0]) if turned else image.size


def require_pixels(file: Upload, most: int) -> Upload:
    """The file of a picture, if it has no more than so many pixels by its header; DataError else, or for none."""
    from PIL import Image

    data = file.getbuffer()
    if bytes(data[:8]) == b"\x89PNG\r\n\x1a\n" and bytes(data[12:16]) == b"IHDR":
        width, height = struct.unpack(">II", bytes(data[16:24]).rjust(8, b"\0"))
    else:
        try:
            with _opened(file.getvalue()) as image:
                width, height = image.size
        except (*_BROKEN, Image.DecompressionBombError) as error:
            shown = str(error) if isinstance(error, Image.DecompressionBombError) else "it is of no known kind"
            raise DataError(f"{file.name} cannot be read as an image ({shown}). Replace or remove it.") from error
    if width * height > most:
        raise DataError(
            f"{file.name} is {width} x {height} pixels, more than the limit of {most}: it was not decoded. Shrink it."
        )
    return file


def _opened(file: File) -> Image:
    from PIL import Image

    given: Any = io.BytesIO(file) if isinstance(file, bytes) else file
    if is_picture(given):
        copy: Image.Image = given.copy()  # which can be closed
        return copy
    if is_frame(given):
        return Image.fromarray(given)
    Image.init()
    return Image.open(given, formats=[kind for kind in _FORMATS if kind in Image.OPEN])


def decode(
    file: File,
    channels: int,
    name: str = "",
    max_pixels: int = MAX_PIXELS,
    side: int | None = None,
    background: str = "white",
) -> Decoded:
    """Read an image file, as 1 (grey) or 3 (RGB) `channels`.

    Transparency is laid over `background`, 16-bit grey is scaled to 8 bits, the camera's orientation is applied, and of
    an animation the first frame is taken. side: what the longer side is needed for; a much larger image is reduced by a
    whole factor, averaging over areas, and a JPEG file while it is decoded, which is several times faster.

    Raises DataError, naming the file (or `name`), if it is not an image, is broken, has more than `max_pixels` pixels
    and cannot be reduced, or is a line rather than an image: that is read from its header, before it is decoded.
    """
    import warnings

    from PIL import Image, ImageOps

    name = name or name_of(file)
    if isinstance(file, str | Path):
        require_regular(file)
        _require_extra(Path(file))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit, below, is lower
            with _opened(file) as image:
                mode, size, colours = image.mode, image.size, "L" if channels == 1 else "RGB"
                _require_size(image, file, name, max_pixels, side)
                if side is not None and max(size) > _DRAFT * side:
                    image.draft(None, _reduced(size, _DRAFT * side))  # no effect but on JPEG
                scale = max(1, round(size[0] / image.width))  # of the draft
                flat = _flatten(ImageOps.exif_transpose(image), colours, name, background)
                turned = flat.size if scale == 1 else (size if flat.size == image.size else size[::-1])
                if side is not None and (factor := max(flat.size) // (_FINER * side)) > 1:
                    flat, scale = flat.reduce(factor), scale * factor
                pixels = torch.tensor(np.asarray(flat))
                extent = turned[1] / scale, turned[0] / scale
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}. Check the path.") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} is far larger than the limit of {max_pixels} pixels; it was not decoded.") from error
    except _BROKEN as error:
        raise DataError(f"{name} cannot be read as an image ({error}). Replace or remove it.") from error
    return Decoded(pixels[None] if channels == 1 else pixels.permute(2, 0, 1), mode, size, extent)


def _require_extra(path: Path) -> None:
    """MissingExtra for a kind of file that Pillow reads with the help of another package only."""
    if path.suffix.lower() in _OF_EXTRA:
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            raise MissingExtra("pillow-heif", "heic", f"Reading {path.name}") from error
        register_heif_opener()


def _require_size(image: Image, file: File, name: str, max_pixels: int, side: int | None) -> None:
    """DataError for an image that is too large to be decoded, or too thin to be shown."""
    width, height = image.size
    if max(width, height) > _THIN * min(width, height):
        raise DataError(
            f"{name} is {width} x {height} pixels: a line rather than an image. It was not decoded. Cut it into parts."
        )
    if width * height <= max_pixels:
        return
    most = max_pixels * (1 if side is None else _LARGEST.get(image.format or "", 2))
    size = os.stat(file).st_size if isinstance(file, str | Path) else width * height
    if width * height > most or width * height > _DENSE * size:
        raise DataError(
            f"{name} is {width} x {height} pixels, more than the limit of {max_pixels}: it was not decoded. Shrink it."
        )


def _reduced(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size with a longer side of `side`."""
    longer = max(size)
    return max(1, size[0] * side // longer), max(1, size[1] * side // longer)


def _flatten(image: Image, mode: str, name: str, background: str) -> Image:
    """The image in mode 'L' or 'RGB', laid over a background where it is transparent."""
    from PIL import Image

    if image.mode == "F":
        raise DataError(f"{name} holds floating-point pixels, whose range is unknown. Save it with 8 or 16 bits.")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return image.convert(mode)


def fit(pixels: Tensor, size: int, extent: tuple[float, float] | None = None) -> Tensor:
    """Images (*n, C, H, W) uint8 as (*n, C, size, size): nothing is cut off and nothing is distorted.

    The longer side becomes `size`; the rest of the square is filled with the median of the image's border. Shrinking
    averages over areas, enlarging is bilinear. extent: height and width, if they are not those of the pixels; see
    `Decoded`.
    """
    height, width = extent or (float(pixels.shape[-2]), float(pixels.shape[-1]))
    if (height, width) == pixels.shape[-2:] == (size, size):
        return pixels
    longer = max(height, width)
    new = max(1, round(height * size / longer)), max(1, round(width * size / longer))
    lead = pixels.shape[:-2]
    share = _areas if longer > size else _neighbours
    down, of_rows = share(height, new[0])
    across, of_columns = (down, of_rows) if height == width else share(width, new[1])
    sums = down @ pixels.double() @ across.T  # whole numbers: the same in any order, on any machine
    small = (sums / (of_rows * of_columns)).round().to(torch.uint8)
    if new == (size, size):
        return small
    edges = (pixels[..., 0, :], pixels[..., -1, :], pixels[..., :, 0], pixels[..., :, -1])
    square = torch.cat(edges, dim=-1).median(dim=-1).values[..., None, None].repeat(*[1] * len(lead), size, size)
    top, left = (size - new[0]) // 2, (size - new[1]) // 2
    square[..., top : top + new[0], left : left + new[1]] = small
    return square


def _areas(old: float, new: int) -> tuple[Tensor, int]:
    """(new, ⌈old⌉): how much of each old pixel, of which the last may be a part, lies in each new one, in whole numbers
    as float64, and what each row sums to."""
    length, part = Fraction(old).limit_denominator(_PARTS).as_integer_ratio()
    edges = np.arange(new + 1, dtype=np.float64) * length
    pixel = np.arange(math.ceil(old), dtype=np.float64) * (part * new)
    overlap = np.minimum(edges[1:, None], pixel + part * new) - np.maximum(edges[:-1, None], pixel)
    return torch.from_numpy(overlap.clip(0)), length


def _neighbours(old: float, new: int) -> tuple[Tensor, int]:
    """As `_areas`, for new ≥ old: how much each old pixel counts by how near its middle is, as bilinear."""
    count = int(old)
    middle = (np.arange(new, dtype=np.float64) * 2 + 1) * count
    pixel = (np.arange(count, dtype=np.float64) * 2 + 1) * new
    inside = middle.clip(new, (2 * count - 1) * new)
    return torch.from_numpy((2 * new - abs(pixel - inside[:, None])).clip(0)), 2 * new

"""Image files as tensors: any common file format, mode and size in; uint8 (C, H, W) out, or a DataError."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.errors import DataError
from quickstudy.files import require_regular

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no EPS: opening one would run Ghostscript
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)


class Decoded(NamedTuple):
    """An image as it was in its file. pixels: (C, H, W) uint8; mode: Pillow's name of the file's pixel format."""

    pixels: Tensor
    mode: str


def decode(file: str | Path | IO[bytes], channels: int, name: str = "", max_pixels: int = MAX_PIXELS) -> Decoded:
    """Read an image file at its own size, as 1 (grey) or 3 (RGB) `channels`.

    Transparency is laid over white, 16-bit grey is scaled to 8 bits, the camera's orientation is applied, and of an
    animation the first frame is taken. Raises DataError, naming the file (or `name`), if it is not an image, is
    broken, or has more than `max_pixels` pixels: that is read from its header, before anything is decoded.
    """
    import warnings

    import numpy as np
    from PIL import Image, ImageOps

    name = name or str(file)
    if isinstance(file, str | Path):
        require_regular(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit, below, is lower
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise DataError(
                        f"{name} is {image.width} x {image.height} pixels, more than the limit of {max_pixels}: it was "
                        "not decoded. Shrink it, or raise max_pixels if you trust it."
                    )
                mode = image.mode
                flat = _flatten(ImageOps.exif_transpose(image), "L" if channels == 1 else "RGB", name)
                pixels = torch.tensor(np.asarray(flat))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}. Check the path.") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} is far larger than the limit of {max_pixels} pixels; it was not decoded.") from error
    except _BROKEN as error:
        raise DataError(f"{name} cannot be read as an image ({error}). Replace or remove it.") from error
    return Decoded(pixels[None] if channels == 1 else pixels.permute(2, 0, 1), mode)


def _flatten(image: Image, mode: str, name: str) -> Image:
    """The image in mode 'L' or 'RGB'."""
    import numpy as np
    from PIL import Image

    if image.mode == "F":
        raise DataError(f"{name} holds floating-point pixels, whose range is unknown. Save it with 8 or 16 bits.")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def fit(pixels: Tensor, size: int) -> Tensor:
    """Images (*n, C, H, W) uint8 as (*n, C, size, size): nothing is cut off and nothing is distorted.

    The longer side becomes `size`; the rest of the square is filled with the median of the image's border. Shrinking
    averages over areas, enlarging is bilinear.
    """
    height, width = pixels.shape[-2:]
    if (height, width) == (size, size):
        return pixels
    longer = max(height, width)
    new = max(1, round(height * size / longer)), max(1, round(width * size / longer))
    lead = pixels.shape[:-2]
    if longer > size:
        floats = _areas(height, new[0]) @ pixels.float() @ _areas(width, new[1]).T
    else:
        floats = F.interpolate(pixels.reshape(-1, 1, height, width).float(), new, mode="bilinear", antialias=True)
    small = floats.round().clamp(0, 255).to(torch.uint8).reshape(*lead, *new)
    if new == (size, size):
        return small
    edges = (pixels[..., 0, :], pixels[..., -1, :], pixels[..., :, 0], pixels[..., :, -1])
    square = torch.cat(edges, dim=-1).median(dim=-1).values[..., None, None].repeat(*[1] * len(lead), size, size)
    top, left = (size - new[0]) // 2, (size - new[1]) // 2
    square[..., top : top + new[0], left : left + new[1]] = small
    return square


def _areas(old: int, new: int) -> Tensor:
    """(new, old): the share of each old pixel in each new one; rows sum to 1."""
    edges = torch.arange(new + 1, dtype=torch.float64) * (old / new)
    pixel = torch.arange(old, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)
    return (overlap.clamp(min=0) * (new / old)).float()

"""Image files as tensors: any common format, mode and size in; one uint8 (C, size, size) out, or a DataError."""

from __future__ import annotations

import logging
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples, ImageFormat
from quickstudy.errors import DataError
from quickstudy.tasks.progress import with_progress

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no EPS: opening one would run Ghostscript
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)
_log = logging.getLogger("quickstudy")


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
                pixels = torch.from_numpy(np.array(flat))
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


def read_image(
    file: str | Path | IO[bytes], format: ImageFormat, name: str = "", max_pixels: int = MAX_PIXELS
) -> Tensor:
    """One image file as uint8 (C, size, size); `/ 255` gives what sources give. See `decode` and `fit`."""
    return _formatted(decode(file, format.channels, name, max_pixels), format)


def _formatted(image: Decoded, format: ImageFormat) -> Tensor:
    pixels = fit(image.pixels, format.size)
    return 255 - pixels if format.invert else pixels


def list_images(folder: str | Path) -> list[Path]:
    """The image files directly in `folder`, sorted by name; hidden files and other suffixes are left out."""
    return sorted(
        path
        for path in _folder(folder).iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def class_folders(root: str | Path) -> list[Path]:
    """The sub-folders of `root`, one a class, sorted by name; raises DataError if there are fewer than two."""
    found = sorted(path for path in _folder(root).iterdir() if path.is_dir() and not path.name.startswith("."))
    layout = "Put the images of each class in a sub-folder of its own: cats/1.png, cats/2.png, dogs/1.png, …"
    if not found:
        raise DataError(f"{root} has no sub-folders. {layout}")
    if len(found) == 1:
        raise DataError(f"{root} has one class only, {found[0].name!r}; telling classes apart needs two. {layout}")
    return found


def _folder(path: str | Path) -> Path:
    if not Path(path).is_dir():
        raise DataError(f"There is no folder {path}. Check the path.")
    return Path(path)


@dataclass(frozen=True)
class ImageFolder:
    """Labelled images. x: (n, C, size, size) uint8; labels: (n,) int64 into names; files: the path of each image."""

    x: Tensor
    labels: Tensor
    names: list[str]
    files: list[Path]
    notices: list[str]

    def floats(self) -> Tensor:
        """The images in [0, 1], as networks take them."""
        return self.x.float() / 255

    def examples(self) -> Examples:
        """All of them as one set, x float in [0, 1]."""
        return Examples(self.floats(), self.labels, torch.ones_like(self.labels, dtype=torch.bool))


def read_folder(
    root: str | Path,
    format: ImageFormat,
    broken: Literal["refuse", "skip"] = "refuse",
    notify: Callable[[str], None] = _log.info,
    max_pixels: int = MAX_PIXELS,
) -> ImageFolder:
    """Read one sub-folder of images for each class.

    broken: whether an image that cannot be read raises DataError or is left out. notify: is told once, at the end,
    what was converted or left out; the same lines are returned as `notices`. Raises DataError for an empty folder.
    """
    classes = class_folders(root)
    paths = [(label, path) for label, folder in enumerate(classes) for path in list_images(folder)]
    x, kept, notices = read_images([path for _, path in paths], format, broken, max_pixels)
    labels = torch.tensor([paths[i][0] for i in kept], dtype=torch.int64)
    for count, folder in zip(torch.bincount(labels, minlength=len(classes)).tolist(), classes, strict=True):
        if not count:
            raise DataError(
                f"The class folder {folder} holds no readable images ({', '.join(SUFFIXES)}). Add some or remove it."
            )
    for notice in notices:
        notify(notice)
    return ImageFolder(x, labels, [folder.name for folder in classes], [paths[i][1] for i in kept], notices)


def read_images(
    paths: Sequence[Path],
    format: ImageFormat,
    broken: Literal["refuse", "skip"] = "refuse",
    max_pixels: int = MAX_PIXELS,
) -> tuple[Tensor, list[int], list[str]]:
    """Read many image files: uint8 (n, C, size, size), the indices of the paths they came from, and notices."""
    images: list[Tensor] = []
    kept: list[int] = []
    skipped: list[str] = []
    modes: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    for index, path in enumerate(with_progress(paths, "Reading images")):
        try:
            image = decode(path, format.channels, max_pixels=max_pixels)
        except DataError as error:
            if broken == "refuse":
                raise
            skipped.append(str(error))
            continue
        modes[image.mode] += 1
        sizes[image.pixels.shape[-1], image.pixels.shape[-2]] += 1
        images.append(_formatted(image, format))
        kept.append(index)
    x = torch.stack(images) if images else torch.empty((0, format.channels, format.size, format.size)).byte()
    return x, kept, _notices(modes, sizes, skipped, format)


def _notices(
    modes: Counter[str], sizes: Counter[tuple[int, int]], skipped: list[str], format: ImageFormat
) -> list[str]:
    total, side = modes.total(), format.size
    native = ("1", "L") if format.channels == 1 else ("RGB",)
    other = {mode: n for mode, n in modes.items() if mode not in native}
    resized = {size: n for size, n in sizes.items() if size != (side, side)}
    notices = []
    if other:
        target = "greyscale" if format.channels == 1 else "RGB"
        notices.append(
            f"{sum(other.values())} of {total} images converted from {', '.join(sorted(other))} to {target}."
        )
    if resized:
        least, most = min(resized, key=lambda s: s[0] * s[1]), max(resized, key=lambda s: s[0] * s[1])
        span = f"{least[0]}x{least[1]}" + ("" if least == most else f"...{most[0]}x{most[1]}")
        notices.append(f"{sum(resized.values())} of {total} images resized from {span} to {side}x{side} pixels.")
    if skipped:
        notices.append(f"{len(skipped)} unreadable images left out: {' '.join(skipped)}")
    return notices

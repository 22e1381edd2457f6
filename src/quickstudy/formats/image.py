"""Images: files of any common format and size, as squares of pixels in [0, 1]."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError, DataError, MissingExtra, ShapeError, first_of
from quickstudy.formats.augment import Augment, augment, dihedral, views
from quickstudy.formats.base import Format
from quickstudy.formats.decoding import (
    SUFFIXES,
    Decoded,
    File,
    decode,
    fit,
    is_frame,
    is_frames,
    is_picture,
    name_of,
    require_pixels,
)
from quickstudy.formats.drawing import Drawing, Picture
from quickstudy.formats.layout import Leaf
from quickstudy.formats.leaving import only
from quickstudy.formats.maps_of_pixels import Pixels
from quickstudy.formats.numeric import as_numbers
from quickstudy.formats.pixels import brought
from quickstudy.formats.places import folders_or_files
from quickstudy.formats.reading import read_all, room
from quickstudy.formats.received import Most, file_of
from quickstudy.formats.records import Broken, Records, Stored, all_kept
from quickstudy.registry import formats

_AT_ONCE = 1 << 22  # numbers that are read before they are put where they are kept
_SLACK = 0.01  # by which resampling may leave the range


@formats.register("image")
@dataclass(frozen=True, kw_only=True)
class Image(Format):
    """Squares of pixels (n, channels, size, size) in [0, 1]; `invert` maps black ink on white to 1 on 0.

    In memory, uint8 are pixels from 0 to 255, and floating-point numbers are features in [0, 1] already. As files: one
    image for each example, in one sub-folder for each class. The longer side is brought to `size`, the rest of the
    square filled with the colour of the image's border. size: of a side, in pixels. channels: 3 for colour, 1 for grey.
    background: what transparent images are laid over. From Python also: Pillow's images, the bytes of files, and uint8
    arrays (height, width) or (height, width, 3), of any sizes.
    """

    size: int = 64
    channels: Literal[1, 3] = 3
    invert: bool = False
    background: Literal["white", "black"] = "white"

    what = "images"
    medium = "image"
    white = 1.0
    symmetries: ClassVar[Mapping[int, str]] = {4: "rotations", 8: "mirrored too"}
    distortion = Augment

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels not in (1, 3):
            raise ConfigError(
                f"size must be at least 1 and channels 1 or 3, found size={self.size} and channels={self.channels}."
            )

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"x": Leaf((self.channels, self.size, self.size))}

    def __str__(self) -> str:
        return f"images of {self.size} x {self.size} pixels{'' if self.channels == 3 else ', grey'}"

    def find(self, place: str | Path | Sequence[str | Path], labelled: bool = True) -> Records:
        return folders_or_files(place, SUFFIXES, self.what, labelled)

    @property
    def pixels(self) -> Pixels:
        return Pixels(self.size, self.what)

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        """Files as uint8 (n, C, size, size), or tensors as they are. One path is a file, or all files of a folder."""
        if isinstance(records, str | Path):
            records = self.find(records, labelled=False).items
        if isinstance(records, bytes) or is_picture(records) or is_frame(records):
            records = [records]
        if is_frames(records) and records.shape[1:] != self.input_shape:
            records = list(records)
        if isinstance(records, Sequence) and all(map(self._is_file, records)):
            return self._read(records, broken)
        x = as_numbers(records)
        whole = isinstance(records, Tensor) and not records.is_floating_point() and records.dtype != torch.uint8
        if whole or (not isinstance(records, Tensor) and getattr(records, "dtype", x.numpy().dtype).kind in "bi"):
            raise ShapeError(
                "Images must be uint8 (pixels from 0 to 255) or floating point (in [0, 1]), found other whole numbers. "
                "Convert them with x.to(torch.uint8), or x.float() / 255."
            )
        if x.is_floating_point() and x.numel() and (float(x.min()) < -_SLACK or float(x.max()) > 1 + _SLACK):
            raise DataError(
                f"Images in floating point must lie in [0, 1], found values from {float(x.min()):.3g} to "
                f"{float(x.max()):.3g}. Pixels from 0 to 255 are given as uint8, or divided by 255."
            )
        return all_kept(self._of_array(x))

    def received(self, record: Any, most: Most) -> Any:
        """A file, of no more pixels than may be, by its header."""
        return require_pixels(file_of(record, self.what), most.pixels)

    def _of_array(self, x: Tensor) -> Tensor:
        """What is stored of images in memory."""
        return x

    def _is_file(self, one: Any) -> bool:
        """Whether a record is to be decoded: a file, its bytes, or a picture of any size."""
        named = isinstance(one, str | Path | bytes) or hasattr(one, "read") or is_picture(one)
        return named or (is_frame(one) and one.shape != self.input_shape)

    def _read(self, files: Sequence[File], broken: Broken) -> Stored:
        x, kept = room((len(files), *self.input_shape), torch.uint8), list[int]()
        skipped, blank, some = list[str](), list[str](), list[Tensor]()
        modes: Counter[str] = Counter()
        sizes: Counter[tuple[int, int]] = Counter()

        def put() -> None:
            """What was read goes to its place, several at once."""
            own = [files[index] for index in kept[len(kept) - len(some) :]]
            squares = self._brought(some, own)
            plain = (squares == squares[:, :, :1, :1]).flatten(1).all(1).tolist()
            blank.extend(name_of(file) for file, one in zip(own, plain, strict=True) if one)
            x[len(kept) - len(some) : len(kept)] = 255 - squares if self.invert else squares
            some.clear()

        unread = (DataError, MissingExtra)
        for index, (pixels, image) in read_all(files, self._decoded, broken, skipped, "Reading images", unread):
            modes[image.mode] += 1
            sizes[image.size] += 1
            kept.append(index)
            some.append(pixels)
            if sum(one.numel() for one in some) > _AT_ONCE:
                put()
        if some:
            put()
        return Stored(x[: len(kept)], kept, self._notices(modes, sizes, skipped, blank))

    def _decoded(self, file: File) -> tuple[Tensor, Decoded]:
        """What `_brought` makes squares of, of one file, and what it was."""
        image = decode(file, self.channels, side=self.size, background=self.background)
        return fit(image.pixels, self.size, image.extent), image._replace(pixels=image.pixels[:, :0, :0])

    def _brought(self, some: Sequence[Tensor], files: Sequence[File]) -> Tensor:
        """Squares of pixels (n, channels, size, size) of what `_decoded` gives of these files."""
        return torch.stack(list(some))

    def _notices(
        self, modes: Counter[str], sizes: Counter[tuple[int, int]], skipped: list[str], blank: list[str]
    ) -> list[str]:
        total, side = modes.total(), self.size
        native = ("1", "L") if self.channels == 1 else ("RGB",)
        other = {mode: n for mode, n in modes.items() if mode not in native}
        resized = {size: n for size, n in sizes.items() if size != (side, side)}
        notices = []
        if other:
            target = "greyscale" if self.channels == 1 else "RGB"
            notices.append(
                f"{sum(other.values())} of {total} images converted from {', '.join(sorted(other))} to {target}."
            )
        if resized:
            least, most = min(resized, key=lambda s: s[0] * s[1]), max(resized, key=lambda s: s[0] * s[1])
            span = f"{least[0]}x{least[1]}" + ("" if least == most else f"...{most[0]}x{most[1]}")
            notices.append(f"{sum(resized.values())} of {total} images resized from {span} to {side}x{side} pixels.")
        if blank:
            turn = "black" if self.background == "white" else "white"
            notices.append(
                f"{len(blank)} images are blank, of one colour all over: {first_of(blank)}. What is transparent in "
                f"them can be laid over {turn} where you train: --tasks.background {turn}."
            )
        if skipped:
            notices.append(f"{len(skipped)} unreadable images left out: {' '.join(skipped)}")
        return notices

    def brought(self, stored: Features, other: Format) -> Features:
        if not isinstance(other, Image):
            return super().brought(stored, other)
        assert isinstance(stored, Tensor)
        return stored if other == self else brought(stored, self.size, self.channels, self.invert != other.invert)

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored.to(torch.float32).div_(255) if stored.dtype == torch.uint8 else stored

    def reading(self, fitted: State) -> dict[str, Any]:
        of = {"size": self.size, "channels": self.channels, "invert": self.invert, "background": self.background}
        return {"kind": "image", **of, "ink": None}

    def entered(self, given: Mapping[str, Tensor], fitted: State) -> Features:
        return only(given).to(torch.float32) / 255

    def tried(self, key: Tensor, count: int, fitted: State) -> dict[str, Tensor]:
        """Blots, and noise on them."""
        side = 1 + self.size // 5
        blots = rng.uniform(rng.fold(key, 0), (count, self.channels, side, side))
        smooth = F.interpolate(blots, (self.size, self.size), mode="bilinear")
        noise = rng.uniform(rng.fold(key, 1), (count, self.channels, self.size, self.size), -0.2, 0.2)
        pixels = (smooth - 0.5) * 3 + 0.3 + noise
        return {"x": (pixels.clamp(0, 1) * 255).round().to(torch.uint8)}

    def distorted(self, x: Features, keys: Tensor, how: Augment) -> Features:
        assert isinstance(x, Tensor)
        return augment(x, keys, how)

    def turned(self, x: Features, which: Tensor) -> Features:
        assert isinstance(x, Tensor)
        return dihedral(x, which)

    def views(self, x: Features) -> list[Features]:
        assert isinstance(x, Tensor)
        return list(views(x))

    @property
    def example(self) -> str:
        return "image"

    def draw(self, x: Features) -> Drawing | None:
        """The pixels as they looked before they were inverted."""
        assert isinstance(x, Tensor)
        pixels = x.detach().float().cpu().clamp(0, 1)
        pixels = 1 - pixels if self.invert else pixels
        return Picture((pixels * 255).round().to(torch.uint8))

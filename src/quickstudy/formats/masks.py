"""Masks beside images: files of equal stems in `images` and `masks`, or what is not transparent in an image itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.errors import DataError, first_of
from quickstudy.formats.class_names import VOID, names_of_values
from quickstudy.formats.decoding import SUFFIXES, File, fit, is_picture, name_of, oriented, pillow
from quickstudy.formats.places import folders_or_files
from quickstudy.formats.reading import read_all
from quickstudy.formats.records import Broken, Records
from quickstudy.targets.maps import BACKGROUND, IGNORED, LabelMaps, named

IMAGES, MASKS, NAMES = "images", "masks", "classes.txt"
_UNLABELLED, _OPAQUE = 255, 128
_BLENDED = 3  # values that fill no two by two pixels: more, and most of all, are edges that were smoothed
_LOSSY = (".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".avif", ".heic", ".heif")


_log = logging.getLogger("quickstudy")


class MaskFile(NamedTuple):
    """Where the mask of an image is told. path: of a file; None where it is what of the image is not transparent.

    concept: what all but the background shows; '' where values name classes. names: of values, where they are told.
    """

    path: Path | None
    concept: str = ""
    names: tuple[tuple[int, str], ...] = ()


def find_masks(place: str | Path, what: str) -> Records:
    """Images with their masks: of a folder with `images` and `masks` in it, or with a sub-folder for each concept.

    A sub-folder has `images` and `masks` in it, or images that are transparent where the concept is not. A file
    classes.txt beside `images` may name the values of masks, a line each: '1 cell'. Values called void or ignore, and
    255 where it has no name, are pixels that nobody has labelled. Groups are the concepts.

    Raises DataError, naming the file, for an image without a mask.
    """
    return Records(*_in_folder(Path(place), what))


def _in_folder(root: Path, what: str) -> tuple[list[Path], list[str], list[MaskFile], list[str]]:
    if not root.is_dir():
        raise DataError(f"There is no folder {root}. Give one with images/ and masks/ in it.")
    if (root / IMAGES).is_dir():
        found = [(root, "", _pairs(root, "", what))]
    else:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not folders:
            raise DataError(
                f"{root} has no sub-folders. Put images into {root / IMAGES} and their masks, of equal names, into "
                f"{root / MASKS}; or make a sub-folder for each concept."
            )
        found = [(f, f.name, _pairs(f, f.name, what) if (f / IMAGES).is_dir() else _alone(f, what)) for f in folders]
    items = [image for *_, pairs in found for image, _ in pairs]
    labels = [mask for *_, pairs in found for _, mask in pairs]
    groups = [concept for _, concept, pairs in found for _ in pairs]
    return items, [str(path) for path in items], labels, groups


def _alone(folder: Path, what: str) -> list[tuple[Path, MaskFile]]:
    """Images whose masks are what is not transparent in them."""
    return [(path, MaskFile(None, folder.name)) for path in folders_or_files(folder, SUFFIXES, what, False).items]


def _pairs(folder: Path, concept: str, what: str) -> list[tuple[Path, MaskFile]]:
    images = folders_or_files(folder / IMAGES, SUFFIXES, what, False).items
    if not (folder / MASKS).is_dir():
        raise DataError(f"{folder} has {IMAGES} but no {MASKS}. Put a mask for each image there, of the same name.")
    masks: dict[str, Path] = {}
    for path in folders_or_files(folder / MASKS, SUFFIXES, "masks", False).items:
        stem = path.relative_to(folder / MASKS).with_suffix("").as_posix()
        if stem in masks:
            raise DataError(f"{masks[stem]} and {path} are both masks of one image. Keep one of them.")
        masks[stem] = path
    names = names_of_values(folder / NAMES)
    pairs = []
    for image in images:
        stem = image.relative_to(folder / IMAGES).with_suffix("").as_posix()
        if stem not in masks:
            raise DataError(
                f"{image} has no mask: there is none called {stem} in {folder / MASKS}. Add it, or move the image "
                f"away{f'; there is {first_of(sorted(masks))}' if masks else ''}."
            )
        pairs.append((image, MaskFile(masks.pop(stem), "" if names else concept, names)))
    if masks:
        _log.warning("%d masks left out, which have no image: %s.", len(masks), first_of(masks.values()))
    return pairs


def read_maps(
    records: Sequence[File], labels: Any, size: int, broken: Broken
) -> tuple[LabelMaps, list[int], list[str]]:
    """The masks of images as squares, as `fit_map` makes them; which of them were read, and what was left out.

    labels: for each record a `MaskFile`, a file or a picture of the mask, or an array (height, width). Raises
    DataError, naming the image, for a mask of another size than its image, or one that has no value for each pixel.
    """
    if len(labels) != len(records):
        raise DataError(f"There are {len(records)} images but {len(labels)} masks. Give one mask for each image.")
    left_out: list[str] = []
    called = [name_of(one) if name_of(one) != name_of(None) else f"image {i + 1}" for i, one in enumerate(records)]
    each = list(zip(records, labels, called, strict=True))
    read = list(read_all(each, lambda one: _read(*one, size), broken, left_out, "Reading masks"))
    kept = [index for index, _ in read]
    values = torch.stack([value for _, value in read]) if read else torch.zeros(0, size, size, dtype=torch.int32)
    told, places = [_told(labels[i]) for i in kept], [called[i] for i in kept]
    return _by_name(values, told, places), kept, left_out


def _told(label: Any) -> MaskFile:
    return label if isinstance(label, MaskFile) else MaskFile(None)


def _read(record: File, label: Any, called: str, size: int) -> Tensor:
    """The values (size, size) of one mask; IGNORED where its image does not reach."""
    own = oriented(record)
    if isinstance(label, MaskFile):
        values = (opacity(record) >= _OPAQUE).to(torch.int32) if label.path is None else _values(label.path)
        name = name_of(record if label.path is None else label.path)
        if not label.names:
            _require_edges(values, name)
    else:
        is_file = isinstance(label, str | Path | bytes) or is_picture(label)
        name = name_of(label) if isinstance(label, str | Path) else f"The mask of {called}"
        values = _values(label) if is_file else _of_array(label, name)
        if is_file:
            _require_edges(values, name)
    if values.dim() != 2 or (values.shape[1], values.shape[0]) != own:
        found = " x ".join(map(str, reversed(values.shape)))
        raise DataError(
            f"{name} is {found} pixels, but its image {called} is {own[0]} x {own[1]}. A mask has the size of "
            "its image: bring it there without smoothing (nearest neighbour), or find the mask that belongs to it."
        )
    return fit_map(values, size)


def _require_edges(values: Tensor, name: str) -> None:
    """DataError for values (height, width) that blend into each other, as smoothing and JPEG leave them."""
    corner = values[:-1, :-1]
    solid = (corner == values[1:, :-1]) & (corner == values[:-1, 1:]) & (corner == values[1:, 1:])
    found, filled = (len(some.flatten().bincount().nonzero()) for some in (values, corner[solid]))
    if found - filled > max(_BLENDED, found / 2):
        raise DataError(
            f"{name} holds {found} values, of which {found - filled} nowhere fill two by two pixels: it was smoothed, "
            "or saved as JPEG, so that values at the edges name no class. Save it anew without that; if these are "
            f"classes, name them in {NAMES}."
        )


def _of_array(label: Any, name: str) -> Tensor:
    """The values of a mask in memory; what is true is white."""
    try:
        values = torch.as_tensor(label if isinstance(label, Tensor) else np.array(label))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is {label!r:.60}, which is no array of whole numbers. Give one, or a file.") from error
    if values.is_floating_point():
        raise DataError(f"{name} is floating point, but its pixels name classes. Round it: mask.round().int().")
    if values.numel() and int(values.min()) < 0:
        raise DataError(
            f"{name} holds the value {int(values.min())}, but pixels name classes from 0 on. Give pixels that nobody "
            f"has labelled the value {_UNLABELLED}."
        )
    return values.to(torch.int32) * (255 if values.dtype == torch.bool else 1)


def fit_opacity(alpha: Tensor, size: int) -> Tensor:
    """Opacity (height, width) uint8 as (size, size), where the image lies; 0 around it."""
    return torch.where(fit_map(torch.ones_like(alpha, dtype=torch.int32), size) > 0, fit(alpha[None], size)[0], 0)


def opacity(record: File) -> Tensor:
    """The alpha channel of an image, (height, width) uint8; DataError where nothing of it is transparent."""
    with pillow(record) as image:
        alpha = torch.tensor(np.asarray(image.convert("RGBA").getchannel("A")))
        if int(alpha.min()) >= _OPAQUE:
            raise DataError(
                f"{name_of(record)} is {image.mode} and has no transparent part, so that nothing says which of its "
                f"pixels show what. Put it into a folder {IMAGES} and its mask into {MASKS} beside it, or leave "
                "such images out (--tasks.broken skip)."
            )
        return alpha


def _values(file: File) -> Tensor:
    """The value of each pixel of a mask (height, width) int32."""
    name = name_of(file)
    if isinstance(file, str | Path) and Path(file).suffix.lower() in _LOSSY:
        raise DataError(f"{name} is of a kind that changes values when it is saved. Save masks as PNG.")
    with pillow(file) as image:
        if image.mode in ("RGB", "RGBA", "LA"):
            pixels = np.asarray(image.convert("RGB"))
            if (pixels != pixels[..., :1]).any():
                raise DataError(
                    f"{name} is a mask in colours ({image.mode}), which say no number of a class. Save it with a "
                    "palette or in grey, a number for each class."
                )
            pixels = pixels[..., 0]
        elif image.mode in ("1", "L", "P") or image.mode.startswith("I"):
            pixels = np.asarray(image)
        else:
            raise DataError(f"{name} is a mask of the kind {image.mode}. Save it in grey with 8 or 16 bits.")
        return torch.tensor(pixels.astype(np.int32))


def fit_map(values: Tensor, size: int) -> Tensor:
    """A map (height, width) as (size, size), where `decoding.fit` puts the image: each pixel takes the value of the
    nearest one, and IGNORED where the image does not reach."""
    height, width = values.shape
    if (height, width) == (size, size):
        return values
    longer = max(height, width)
    new = max(1, round(height * size / longer)), max(1, round(width * size / longer))
    square = torch.full((size, size), IGNORED, dtype=values.dtype)
    top, left = (size - new[0]) // 2, (size - new[1]) // 2
    rows, columns = (
        ((torch.arange(count) + 0.5) * old / count).long() for count, old in zip(new, (height, width), strict=True)
    )
    square[top : top + new[0], left : left + new[1]] = values[rows][:, columns]
    return square


def unfit_map(maps: Tensor, own: tuple[int, int]) -> Tensor:
    """The inverse of `fit_map` for maps (C, size, size) of numbers: (C, height, width) of an image of the size `own`
    (width, height), bilinear."""
    (width, height), size = own, maps.shape[-1]
    longer = max(height, width)
    new = max(1, round(height * size / longer)), max(1, round(width * size / longer))
    top, left = (size - new[0]) // 2, (size - new[1]) // 2
    cut = maps[:, top : top + new[0], left : left + new[1]]
    return F.interpolate(cut[None], (height, width), mode="bilinear")[0]


def _say_of_white(values: Tensor, places: Sequence[str]) -> None:
    """Say which of the masks (n, height, width) that do hold other values are black and white."""
    white = (values == _UNLABELLED).flatten(1).any(1)
    white &= ((values == _UNLABELLED) | (values == 0) | (values == IGNORED)).flatten(1).all(1)
    if bool(white.any()):
        _log.warning(
            "%d masks are black and white, but others hold other values: 255 is left out in all of them, as pixels "
            "that nobody has labelled (%s). If it is a class, name it in %s.",
            int(white.sum()), first_of(places[i] for i in white.nonzero().flatten().tolist()), NAMES,
        )  # fmt: skip


def _by_name(values: Tensor, told: Sequence[MaskFile], places: Sequence[str]) -> LabelMaps:
    """Maps with one numbering for all, of values (n, size, size) which each example's own names explain."""
    names, ids = [BACKGROUND], torch.full(values.shape, IGNORED, dtype=torch.int16)
    keys = [(mask.concept, mask.names) for mask in told]
    for concept, given in dict.fromkeys(keys):
        rows = [i for i, key in enumerate(keys) if key == (concept, given)]
        some = values[rows]
        void = [value for value, name in given if name.lower() in VOID]
        if _UNLABELLED not in dict(given) and not set(some.unique().tolist()) <= {IGNORED, 0, 255}:  # type: ignore[no-untyped-call]
            void.append(_UNLABELLED)
            _say_of_white(some, [places[i] for i in rows])
        unknown = (some == IGNORED) | torch.isin(some, torch.tensor(void, dtype=some.dtype))
        if concept:
            own = LabelMaps((some > 0).to(torch.int16), (BACKGROUND, concept))
        else:
            known = {value: name for value, name in given if value not in void}
            plain = torch.where(unknown, _UNLABELLED, some)
            own = named(plain, known or {0: BACKGROUND}, _UNLABELLED, bool(known), [places[i] for i in rows])
        names += [name for name in own.names if name not in names]
        at = torch.tensor([names.index(name) for name in own.names] + [IGNORED], dtype=torch.int16)
        ids[rows] = at[torch.where(unknown, IGNORED, own.ids).long()]
    return LabelMaps(ids, tuple(names))

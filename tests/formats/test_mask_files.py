"""Masks beside images: which file belongs to which, what their values mean, and where each pixel goes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from quickstudy import rng
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.augment import Augment, augment, augment_maps
from quickstudy.formats.class_names import names_of_values
from quickstudy.formats.decoding import fit
from quickstudy.formats.masks import fit_map, unfit_map
from quickstudy.registry import formats
from quickstudy.targets.maps import IGNORED

IMAGE = formats.make("image", size=8)


def save(path: Path, pixels: Any, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.asarray(pixels, dtype=np.uint8), mode).save(path)
    return path


def pair(folder: Path, name: str, mask: Any) -> None:
    mask = np.asarray(mask)
    save(folder / "images" / f"{name}.jpg", np.full((*mask.shape, 3), 90))
    save(folder / "masks" / f"{name}.png", mask)


def read(folder: Path) -> Any:
    found = IMAGE.pixels.find(folder)
    maps, kept, _ = IMAGE.pixels.maps(found.items, found.labels)
    assert kept == list(range(len(found.items)))
    return maps


@pytest.mark.parametrize(
    ("written", "warned"),
    [("0 Hintergrund\n1 Zelle\n", True), ("0 background\n1 cell\n", False), ("1 cell\n2 nucleus\n", False)],
)
def test_a_background_by_another_name_is_a_class_with_a_warning(
    tmp_path: Path, written: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "classes.txt").write_text(written)
    with caplog.at_level("WARNING", logger="quickstudy"):
        names_of_values(tmp_path / "classes.txt")
    assert ("'Hintergrund' is to be found" in caplog.text) is warned


def test_masks_belong_to_images_of_equal_stems_and_classes_txt_names_their_values(tmp_path: Path) -> None:
    quarters = np.kron(np.array([[0, 1], [2, 7]]), np.ones((4, 4)))
    pair(tmp_path, "b", quarters)
    pair(tmp_path, "a", np.full((8, 8), 2))
    (tmp_path / "classes.txt").write_text("0 background\n1 cell\n2\tcell nucleus\n7 void\n")
    maps = read(tmp_path)
    assert maps.names == ("background", "cell", "cell nucleus")
    assert maps.ids[0].unique().tolist() == [2]  # of a
    assert maps.ids[1, ::4, ::4].tolist() == [[0, 1], [2, IGNORED]]


def test_names_alone_are_of_0_1_2_and_a_void_0_leaves_a_background_without_pixels(tmp_path: Path) -> None:
    pair(tmp_path, "a", np.kron(np.array([[0, 1], [2, 1]]), np.ones((4, 4))))
    (tmp_path / "classes.txt").write_text("void\nsky\nroad\n")
    maps = read(tmp_path)
    assert maps.names == ("background", "sky", "road")
    assert maps.ids[0, ::4, ::4].tolist() == [[IGNORED, 1], [2, 1]]


@pytest.mark.parametrize(
    "written",
    [
        "0: background\n1: cell\n4: void\n",
        "0,background\n1,cell\n4,ignore\n",
        "# of the laboratory\n0 = Background\n1\tcell\n4 = Void\n",
        "0 _background_\n1 cell\n4 _ignore_\n",
    ],
)
def test_values_and_names_may_be_parted_in_any_usual_way(tmp_path: Path, written: str) -> None:
    pair(tmp_path, "a", np.kron(np.array([[0, 1], [4, 1]]), np.ones((4, 4))))
    (tmp_path / "classes.txt").write_text(written)
    maps = read(tmp_path)
    assert maps.names == ("background", "cell") and maps.ids[0, ::4, ::4].tolist() == [[0, 1], [IGNORED, 1]]


def test_thin_lines_of_several_classes_are_no_smoothing(tmp_path: Path) -> None:
    mask = np.repeat(np.arange(8) // 2, 8).reshape(8, 8)
    mask[:, 3], mask[:, 6] = 5, 7
    pair(tmp_path, "a", mask)
    assert read(tmp_path).names == ("background", "1", "2", "3", "5", "7")


def test_white_that_counts_as_unlabelled_and_masks_of_no_image_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair(tmp_path, "one", np.kron(np.array([[0, 1], [1, 0]]), np.ones((4, 4))))
    pair(tmp_path, "white", np.kron(np.array([[0, 255], [255, 0]]), np.ones((4, 4))))
    save(tmp_path / "masks" / "lost.png", np.zeros((8, 8)))
    assert read(tmp_path).names == ("background", "1")
    assert "1 masks left out, which have no image" in caplog.text and "lost.png" in caplog.text
    assert "1 masks are black and white" in caplog.text and "white.jpg" in caplog.text


def test_without_names_values_are_classes_255_is_unlabelled_and_black_and_white_is_a_foreground(tmp_path: Path) -> None:
    pair(tmp_path / "many", "a", np.kron(np.array([[0, 3], [255, 3]]), np.ones((4, 4))))
    many = read(tmp_path / "many")
    assert many.names == ("background", "3") and many.ids[0, ::4, ::4].tolist() == [[0, 1], [IGNORED, 1]]
    pair(tmp_path / "two", "a", np.kron(np.array([[0, 255], [255, 0]]), np.ones((4, 4))))
    two = read(tmp_path / "two")
    assert two.names == ("background", "foreground") and two.ids[0, ::4, ::4].tolist() == [[0, 1], [1, 0]]


def test_folders_are_concepts_and_transparency_is_a_mask(tmp_path: Path) -> None:
    pair(tmp_path / "cat", "a", np.kron(np.array([[0, 1], [1, 5]]), np.ones((4, 4))))
    alpha = np.kron(np.array([[255, 0], [127, 128]]), np.ones((4, 4)))
    save(tmp_path / "dog" / "x.png", np.dstack([np.full((8, 8, 3), 50), alpha]))
    found = IMAGE.pixels.find(tmp_path)
    assert found.groups == ["cat", "dog"]
    maps = IMAGE.pixels.maps(found.items, found.labels)[0]
    assert maps.names == ("background", "cat", "dog")
    assert maps.ids[:, ::4, ::4].tolist() == [[[0, 1], [1, 1]], [[2, 0], [0, 2]]]


def test_a_map_lies_where_the_image_does_and_the_rest_is_unlabelled() -> None:
    values = torch.arange(1, 13).view(3, 4)
    square = fit_map(values.repeat_interleave(2, 0).repeat_interleave(2, 1), 4)
    assert square.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [IGNORED] * 4]
    pixels = fit(torch.full((1, 30, 50), 9, dtype=torch.uint8), 20)
    assert fit_map(torch.ones(30, 50), 20).shape == pixels.shape[1:]
    wide = torch.zeros(1, 30, 50, dtype=torch.uint8)
    wide[:, 1:-1, 1:-1] = 200  # the border is black, and so is what is filled
    inside = fit_map(torch.ones(30, 50), 20) == 1
    assert (fit(wide, 20)[0][~inside] == 0).all() and (fit(wide, 20)[0, 6:14, 2:18] > 150).all()


@pytest.mark.parametrize("own", [(50, 30), (7, 19), (8, 8)])
def test_maps_go_back_to_the_size_of_the_image(own: tuple[int, int]) -> None:
    width, height = own
    slope = torch.linspace(0, 1, width).expand(height, width)
    square = torch.nan_to_num(fit_map(slope, 32).where(fit_map(slope, 32) >= 0, 0.5))
    back = unfit_map(square[None], own)
    assert back.shape == (1, height, width)
    assert float((back[0] - slope).abs().max()) < 0.12


def test_images_and_maps_move_alike() -> None:
    maps = torch.zeros(6, 32, 32, dtype=torch.int64)
    maps[:, 4:12, 6:28] = 1
    keys = rng.split(rng.key(1), 6)
    how = Augment(rotate=30, scale=0.3, shear=0.2, translate=0.2, elastic=0.02, flip=0.5)
    images = augment(maps[:, None].float(), keys, how)[:, 0]
    moved = augment_maps(maps, keys, how, 255)
    assert ((moved == 1) == (images > 0.5)).float().mean() > 0.99
    inside = augment(torch.ones(6, 1, 32, 32), keys, how)[:, 0]
    assert ((moved == 255) == (inside < 0.5)).float().mean() > 0.99 and (moved == 255).any()
    assert torch.equal(augment_maps(maps, keys, Augment(), 255), maps)


def test_a_flip_mirrors_a_share_of_the_images() -> None:
    image = torch.arange(64.0).view(1, 1, 8, 8).expand(400, 1, 8, 8)
    keys = rng.split(rng.key(3), 400)
    flipped = augment(image, keys, Augment(flip=0.25))
    same = (flipped - image).flatten(1).abs().amax(1) < 1e-3
    mirrored = (flipped - image.flip(3)).flatten(1).abs().amax(1) < 1e-3
    assert bool((same ^ mirrored).all()) and 0.18 < float(mirrored.float().mean()) < 0.32
    ids = augment_maps(image[:, 0].long(), keys, Augment(flip=0.25), 255)
    assert torch.equal(ids[mirrored], image[mirrored, 0].flip(2).long())


def _other_size(root: Path) -> None:
    pair(root, "a", np.zeros((8, 6)))
    save(root / "masks" / "a.png", np.zeros((6, 8)))


def _no_mask(root: Path) -> None:
    pair(root, "a", np.zeros((8, 6)))
    pair(root, "b", np.zeros((8, 6)))
    (root / "masks" / "b.png").unlink()


def _two_masks(root: Path) -> None:
    pair(root, "a", np.zeros((8, 6)))
    save(root / "masks" / "a.bmp", np.zeros((8, 6)))


def _colours(root: Path) -> None:
    pair(root, "a", np.zeros((8, 6)))
    save(root / "masks" / "a.png", np.random.default_rng(0).integers(0, 9, (8, 6, 3)))


def _jpeg(root: Path) -> None:
    pair(root, "a", np.zeros((8, 6)))
    (root / "masks" / "a.png").unlink()
    save(root / "masks" / "a.jpg", np.zeros((8, 6)))


def _unnamed(root: Path) -> None:
    pair(root, "a", np.zeros((8, 6)))
    pair(root, "b", np.full((8, 6), 4))
    (root / "classes.txt").write_text("0 background\n1 cell\n")


def _opaque(root: Path) -> None:
    save(root / "cat" / "a.png", np.zeros((8, 8, 3)))


def _opaque_with_alpha(root: Path) -> None:
    """As screenshots are saved."""
    save(root / "cat" / "a.png", np.full((8, 8, 4), 255))


def _white(size: int) -> Any:
    """A white disc on black, as an image."""
    across = np.arange(size) - size / 2
    return Pillow.fromarray(np.where(across[:, None] ** 2 + across**2 < (size / 3) ** 2, 255, 0).astype(np.uint8))


def _smoothed(root: Path) -> None:
    pair(root / "cat", "a", np.asarray(_white(64).resize((32, 32), Pillow.Resampling.BILINEAR)))


def _once_jpeg(root: Path) -> None:
    saved = io.BytesIO()
    _white(32).save(saved, "JPEG", quality=90)
    pair(root, "a", np.asarray(Pillow.open(saved)))


def _no_masks(root: Path) -> None:
    save(root / "images" / "a.png", np.zeros((8, 8, 3)))


def _half_named(root: Path) -> None:
    pair(root, "a", np.zeros((8, 6)))
    (root / "classes.txt").write_text("0 background\ncell\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_other_size, "a.png is 8 x 6 pixels, but its image .*a.jpg is 6 x 8"),
        (_no_mask, "b.jpg has no mask"),
        (_two_masks, "both masks of one image"),
        (_colours, "a mask in colours"),
        (_jpeg, "changes values"),
        (_unnamed, "b.jpg holds the value 4, which no class has"),
        (_opaque, "has no transparent part"),
        (_opaque_with_alpha, "has no transparent part"),
        (_smoothed, "nowhere fill two by two pixels: it was smoothed"),
        (_once_jpeg, "nowhere fill two by two pixels: it was smoothed, or saved as JPEG"),
        (_no_masks, "but no masks"),
        (_half_named, "does not begin with a value"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=words):
        read(tmp_path)


def test_masks_may_be_skipped_and_other_formats_have_none(tmp_path: Path) -> None:
    pair(tmp_path, "b", np.zeros((8, 6)))
    _other_size(tmp_path)
    found = IMAGE.pixels.find(tmp_path)
    maps, kept, left_out = IMAGE.pixels.maps(found.items, found.labels, "skip")
    assert kept == [1] and len(maps) == 1 and len(left_out) == 1
    with pytest.raises(ConfigError, match="pixels of images"):
        formats.make("table", columns=2).pixels.find(tmp_path)


def test_values_below_0_name_no_class() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(DataError, match="mask of image 2 holds the value -1, but pixels name classes from 0 on"):
        IMAGE.pixels.maps([frame, frame], [np.full((8, 8), 1), np.full((8, 8), -1)])

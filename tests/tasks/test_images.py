from __future__ import annotations

import io
import logging
import shutil
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from quickstudy.episode import leaves
from quickstudy.errors import ConfigError, DataError, MissingExtra, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.decoding import decode, fit
from quickstudy.formats.places import class_folders
from quickstudy.registry import formats
from quickstudy.tasks import arrays, folder
from quickstudy.tasks.base import Sampling
from quickstudy.testing import check_source

GREY, COLOUR = (formats.make("image", size=16, channels=channels) for channels in (1, 3))


def save(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def read_image(path: Path, format: Format) -> torch.Tensor:
    """One file as the compact tensor of the format."""
    (x,) = leaves(format.store([path]).x)
    return x[0]


def grey(value: int = 128, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new("L", size, value)


def header(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "YCbCr"])
@pytest.mark.parametrize("format", [GREY, COLOUR])
def test_every_mode_gives_the_same_grey(tmp_path: Path, mode: str, format: Format) -> None:
    value = 255 if mode == "1" else 128
    if mode == "I;16":
        image = Image.fromarray(np.full((16, 16), 128 * 257, dtype=np.uint16))
    else:
        image = grey(value).convert("RGB")
        image = image.quantize(4) if mode == "P" else image.convert(mode)
    path = save(tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png"), image)
    x = read_image(path, format)
    assert x.shape == format.input_shape and x.dtype == torch.uint8
    assert (x.int() - value).abs().max() <= 1


def test_transparency_is_white_and_inverting_makes_ink_high(tmp_path: Path) -> None:
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    image.putpixel((3, 5), (0, 0, 0, 255))
    x = read_image(save(tmp_path / "x.png", image), formats.make("image", size=16, channels=1, invert=True))
    assert x[0, 5, 3] == 255 and x.sum() == 255


def test_the_cameras_orientation_is_applied(tmp_path: Path) -> None:
    image = grey(0, (4, 2))
    image.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "x.png", exif=exif)
    pixels = decode(tmp_path / "x.png", 1).pixels
    assert pixels.shape == (1, 4, 2) and pixels[0, 0, 1] == 255


def test_shrinking_averages_over_areas() -> None:
    x = torch.randint(0, 256, (5, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fit(x, 8).float(), F.avg_pool2d(x.float(), 3), atol=0.5, rtol=0)
    total = fit(x, 7).float().mean((2, 3)) - x.float().mean((2, 3))  # 24 / 7 is not whole: areas still tile the image
    assert total.abs().max() < 0.3


@pytest.mark.parametrize(("height", "width"), [(10, 40), (40, 10), (5, 11), (1, 4000), (16, 3)])
def test_nothing_is_cut_off_and_the_border_fills_the_square(height: int, width: int) -> None:
    x = torch.full((3, height, width), 200, dtype=torch.uint8)
    assert (fit(x, 16) == 200).all()
    x[:, height // 2, width // 2] = 0
    assert fit(x, 16).min() < 200 and fit(x, 16).shape == (3, 16, 16)


def test_an_image_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    for side in (9_000, 100_000):
        (tmp_path / "bomb.png").write_bytes(header(side, side))
        with pytest.raises(DataError, match=r"bomb\.png .* not decoded"):
            read_image(tmp_path / "bomb.png", GREY)
    save(tmp_path / "fine.png", grey(size=(30, 30)))
    with pytest.raises(DataError, match="30 x 30 pixels, more than the limit of 899"):
        decode(tmp_path / "fine.png", 1, max_pixels=899)
    assert decode(tmp_path / "fine.png", 1, max_pixels=900).pixels.shape == (1, 30, 30)


def test_broken_files_are_named(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.jpg", Image.effect_noise((64, 64), 90)).read_bytes()
    damaged = {
        "empty.png": b"",
        "text.png": b"hello",
        "cut.jpg": whole[: len(whole) // 2],
        "headless.png": header(9, 9),
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be read as an image"):
            read_image(tmp_path / name, GREY)
    with pytest.raises(DataError, match="There is no file"):
        read_image(tmp_path / "none.png", GREY)


def test_a_broken_image_among_good_ones_is_refused_or_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for c in "abcdef":
        for i in range(4):
            image = grey(20 * i)
            image.putpixel((3, "abcdef".index(c)), 255)
            save(tmp_path / c / f"{i}.png", image)
    (tmp_path / "b" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    with pytest.raises(DataError, match=r"b/2\.png cannot be read"):
        folder(root=str(tmp_path), size=16, channels=1)
    with caplog.at_level(logging.INFO, "quickstudy"):
        source = folder(root=str(tmp_path), size=16, channels=1, broken="skip")
    assert sorted(source.pool.counts.tolist()) == [3, 4, 4, 4, 4, 4]
    (notice,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "1 unreadable images left out" in notice and "b/2.png" in notice


def test_mixed_sizes_and_modes_are_converted_and_said_once(tmp_path: Path) -> None:
    for c in "ab":
        save(tmp_path / c / "grey.png", grey())
        save(tmp_path / c / "colour.png", Image.new("RGB", (20, 20), "red"))
        save(tmp_path / c / "large.png", Image.new("RGBA", (105, 90), "red"))
    (tmp_path / "a" / ".hidden.png").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / ".git").mkdir()
    records = GREY.find(tmp_path)
    stored = GREY.store(records.items)
    said = stored.notices
    assert leaves(stored.x)[0].shape == (6, 1, 16, 16) and records.labels == ["a"] * 3 + ["b"] * 3
    assert [Path(name).name for name in records.names[:3]] == ["colour.png", "grey.png", "large.png"]
    assert said[:2] == [
        "4 of 6 images converted from RGB, RGBA to greyscale.",
        "4 of 6 images resized from 20x20...105x90 to 16x16 pixels.",
    ]


def test_folders_without_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no sub-folders"):
        class_folders(tmp_path)
    save(tmp_path / "cats" / "1.png", grey())
    with pytest.raises(DataError, match="one class only, 'cats'"):
        folder(root=str(tmp_path))
    (tmp_path / "dogs").mkdir()
    with pytest.raises(DataError, match="dogs holds no readable images"):
        folder(root=str(tmp_path))
    with pytest.raises(DataError, match="There is no folder"):
        class_folders(tmp_path / "birds")
    save(tmp_path / "dogs" / "1.png", grey())
    with pytest.raises(DataError, match="2 classes cannot be split: val takes 2 and test 2"):
        folder(root=str(tmp_path))
    save(tmp_path / "birds" / "1.png", grey())
    with pytest.raises(DataError, match="train on all, .*--tasks.val 0 --tasks.test 0 --ways 2 --train-ways 2"):
        folder(root=str(tmp_path))


def test_a_class_is_the_same_in_every_form_of_its_name(tmp_path: Path) -> None:
    for split, name in (("train", "caf\u00e9"), ("train", "tea"), ("test", "cafe\u0301"), ("test", "milk")):
        save(tmp_path / split / name / "1.png", grey())
    with pytest.raises(DataError, match="is in both 'train' and 'test'"):
        folder(root=str(tmp_path), val=0)


def test_too_few_images_or_classes_are_named_with_the_numbers(photos: Path) -> None:
    source = folder(root=str(photos), size=16)
    few = source.sampled(Sampling(ways=2, shots=5, queries=4))
    with pytest.raises(DataError, match=r"Class 'class\d' .* has 8 examples, but 5 shots \+ 4 queries need 9"):
        few.check("train")
    wide = source.sampled(Sampling(ways=9, shots=1, queries=1))
    with pytest.raises(DataError, match="9-way tasks need 9 classes, but the split 'train' has 6"):
        wide.check("train")


def test_given_splits_are_kept_and_missing_ones_are_cut_from_training(photos: Path, tmp_path: Path) -> None:
    for i, path in enumerate(sorted(photos.iterdir())):
        split = "test" if i >= 7 else "train"
        (tmp_path / split).mkdir(exist_ok=True)
        (tmp_path / split / path.name).symlink_to(path)
    source = folder(root=str(tmp_path), size=16)
    names = {s: {source.pool.name(int(c)) for c in ids} for s, ids in source.splits.items()}
    assert names["test"] == {"class7", "class8", "class9"}
    assert {s: len(n) for s, n in names.items()} == {"train": 5, "val": 2, "test": 3}
    check_source(source.sampled(Sampling(ways=2, shots=3, queries=4)))
    (tmp_path / "test" / "class0").symlink_to(photos / "class0")
    with pytest.raises(DataError, match="class 'class0' is in both 'train' and 'test'"):
        folder(root=str(tmp_path), size=16)


def test_a_class_may_be_called_train(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Such as that of locomotives; while folders of files alone that are all called as splits are no classes."""
    whole = tmp_path / "whole"
    shutil.copytree(photos, whole)
    for name, new in (("class8", "train"), ("class9", "test")):
        (whole / name).rename(whole / new)
    with caplog.at_level("INFO", "quickstudy"):
        source = folder(root=str(whole), size=16)
    assert {source.pool.name(i) for i in range(10)} == {*(f"class{i}" for i in range(8)), "train", "test"}
    assert "it is read as the class 'train'" in caplog.text
    for name in [f"class{i}" for i in range(8)]:
        shutil.rmtree(whole / name)
    with pytest.raises(DataError, match="train has no sub-folders"):
        folder(root=str(whole), size=16)


def test_folder_refuses_options_that_do_not_exist(photos: Path) -> None:
    for options, found in (
        ({"channels": 2}, "'channels' .* is 2, expected 1 or 3"),
        ({"broken": "ignore"}, "'ignore'"),
        ({"val": 1.5}, "1.5"),
    ):
        with pytest.raises(ConfigError, match=found):
            folder(root=str(photos), **options)


X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.repeat([f"kind {i}" for i in range(10)], 6)


@pytest.mark.parametrize("labels", [Y, list(Y), np.repeat(np.arange(10), 6), torch.arange(10).repeat_interleave(6)])
def test_arrays_take_labels_of_any_kind(labels: object) -> None:
    source = arrays(X, labels)
    check_source(source.sampled(Sampling(ways=2, shots=2, queries=3)))
    assert source.pool.x.dtype == torch.float32 and source.spec.input_shape == (4,)


def test_numeric_labels_are_sorted_by_size_and_splits_can_be_given() -> None:
    source = arrays(X, np.repeat(np.arange(10), 6) * 5, splits={"train": [0, 5, 10], "val": [15, 20], "test": [45]})
    assert source.pool.names == ("0", "5", "10", "15", "20", "25", "30", "35", "40", "45")
    assert {s: ids.tolist() for s, ids in source.splits.items()} == {"train": [0, 1, 2], "val": [3, 4], "test": [9]}


def test_arrays_say_what_is_wrong() -> None:
    bad = X.copy()
    bad[7, 2] = np.nan
    with pytest.raises(DataError, match="NaN or infinite values in 1 examples, first in example 7"):
        arrays(bad, Y)
    with pytest.raises(ShapeError, match="x has 60 examples but y has 59 labels"):
        arrays(X, Y[:59])
    with pytest.raises(ShapeError, match="must hold numbers, found NumPy dtype <U1"):
        arrays(X.astype("U1"), Y)
    with pytest.raises(ShapeError, match="differ in shape"):
        arrays([[1.0], [1.0, 2.0]], ["a", "b"])
    with pytest.raises(ShapeError, match=r"y must have one axis, found shape \(60, 10\)"):
        arrays(X, np.zeros((60, 10)))
    with pytest.raises(DataError, match="no label for example 3"):
        arrays(X, [*Y[:3], None, *Y[4:]])
    with pytest.raises(DataError, match="y has 1 different labels"):
        arrays(X, ["a"] * 60)
    with pytest.raises(DataError, match="'kind 99', which no example has"):
        arrays(X, Y, splits={"train": ["kind 99"]})
    with pytest.raises(DataError, match="'kind 1' twice, in 'train' and 'test'"):
        arrays(X, Y, splits={"train": ["kind 1"], "test": ["kind 1"]})
    with pytest.raises(ConfigError, match=r"need square images .* and these are .*\(4,\)"):
        arrays(X, Y, symmetries=4)


def photo(size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise((60, 40), 60).resize(size, Image.Resampling.BICUBIC).convert("RGB")


def test_pictures_bytes_frames_and_files_are_the_same_image(tmp_path: Path) -> None:
    format = formats.make("image", size=12, channels=3)
    picture = photo((30, 20))
    path = save(tmp_path / "x.png", picture)
    frame = np.asarray(picture)
    expected = leaves(format.store([path]).x)[0]
    for given in (
        picture,
        [picture],
        path.read_bytes(),
        [path.read_bytes()],
        [frame],
        frame,
        frame[None],
        str(path),
        [io.BytesIO(path.read_bytes())],
    ):
        assert torch.equal(leaves(format.store(given).x)[0], expected), type(given)
    mixed = format.store([picture, path, np.asarray(photo((9, 17))), np.zeros((5, 5), np.uint8)])
    assert leaves(mixed.x)[0].shape == (4, 3, 12, 12)


def test_large_photos_are_reduced_while_they_are_decoded(tmp_path: Path) -> None:
    large = photo((3001, 2000))
    for name in ("x.jpg", "x.png"):
        path = save(tmp_path / name, large)
        whole = fit(decode(path, 3).pixels, 40).float()
        reduced = decode(path, 3, side=40)
        assert reduced.size == (3001, 2000) and max(reduced.pixels.shape) < 400
        difference = (fit(reduced.pixels, 40, reduced.extent).float() - whole).abs()
        assert difference.mean() < 2 and difference.max() <= 20, name


def test_above_the_limit_only_what_can_be_reduced_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", photo((300, 200)))
    limit = 20_000
    with pytest.raises(DataError, match="300 x 200 pixels, more than the limit of 20000"):
        decode(path, 3, max_pixels=limit)
    assert decode(path, 3, max_pixels=limit, side=20).pixels.shape[0] == 3
    flat = save(tmp_path / "flat.png", Image.new("L", (300, 200)))  # 60,000 pixels in 200 bytes
    with pytest.raises(DataError, match=r"flat\.png is 300 x 200 pixels"):
        decode(flat, 1, max_pixels=limit, side=20)


def test_a_line_of_pixels_is_no_image(tmp_path: Path) -> None:
    path = save(tmp_path / "thin.png", Image.new("1", (4000, 2)))
    with pytest.raises(DataError, match=r"thin\.png is 4000 x 2 pixels: a line rather than an image"):
        read_image(path, GREY)


def test_white_on_transparent_is_said_and_can_be_seen(tmp_path: Path) -> None:
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    image.putpixel((3, 5), (255, 255, 255, 255))
    path = save(tmp_path / "x.png", image)
    (notice,) = GREY.store([path]).notices[-1:]
    assert "1 images are blank" in notice and "x.png" in notice and "--tasks.background black" in notice
    dark = formats.make("image", size=16, channels=1, background="black")
    assert read_image(path, dark)[0, 5, 3] == 255 and not any("blank" in said for said in dark.store([path]).notices)


def test_photos_of_phones_need_a_package_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "IMG_1.heic"
    path.write_bytes(b"none")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtra, match=r"Reading IMG_1\.heic needs the package 'pillow-heif'.*quickstudy\[heic\]"):
        read_image(path, GREY)
    stored = GREY.store([path], "skip")
    assert not stored.kept and "IMG_1.heic" in stored.notices[0]


def test_photos_of_phones_are_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    picture = photo((64, 48))
    heif.from_pillow(picture).save(tmp_path / "x.heic", quality=95)
    found = decode(tmp_path / "x.heic", 3).pixels.float()
    assert (found - torch.tensor(np.asarray(picture)).permute(2, 0, 1)).abs().mean() < 4

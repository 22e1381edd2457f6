"""Small made-up data sets in the shape of the real ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

BACKGROUND = ("Early_Aramaic", "Greek", "Hebrew", "Latin")
EVALUATION = ("Angelic", "Atlantean", "Tengwar")


def drawing(*key: int, size: int = 105) -> Image.Image:
    """Black strokes on white, the same for the same key."""
    generator = np.random.default_rng(key)
    pixels = np.full((size, size), 255, dtype=np.uint8)
    for row, column in generator.integers(10, size - 40, (4, 2)):
        pixels[row : row + 4, column : column + 30] = 0
        pixels[row : row + 30, column : column + 4] = 0
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_archive(path: Path, alphabets: tuple[str, ...], characters: int = 6, drawings: int = 6) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for a, alphabet in enumerate(alphabets):
            for c in range(characters):
                for d in range(drawings):
                    name = f"{path.stem}/{alphabet}/character{c + 1:02d}/{a * 100 + c:04d}_{d + 1:02d}.png"
                    archive.writestr(name, png(drawing(len(alphabet), a, c, d)))
    return path


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two archives like Omniglot's, of a few alphabets."""
    root = tmp_path_factory.mktemp("omniglot")
    write_archive(root / "images_background.zip", BACKGROUND)
    write_archive(root / "images_background_small1.zip", BACKGROUND[:2])
    write_archive(root / "images_evaluation.zip", EVALUATION)
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten classes with eight colour images of 20 x 20 pixels each."""
    root = tmp_path_factory.mktemp("photos")
    for c in range(10):
        (root / f"class{c}").mkdir()
        for i in range(8):
            pixels = np.random.default_rng((c, i)).integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"class{c}" / f"{i}.png")
    return root


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """The tensors here are tiny: more threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for the tests alone."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache

"""Made-up drawings and archives in the shape of Omniglot's."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


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

"""Small images with masks, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

SIZE, SHADES = 8, {"cat": 60, "dog": 120, "owl": 180, "eel": 230, "ant": 30}


def save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def drawing(number: int, shade: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture in which a rectangle of one shade is the concept, and its mask."""
    random = np.random.default_rng(number)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    top, left = random.integers(0, 5, 2)
    mask[top : top + 3, left : left + 3] = 1
    return np.where(mask[..., None], [shade, 10, 10], random.integers(0, 9, (SIZE, SIZE, 3))), mask


def write_concepts(root: Path, each: int = 6) -> None:
    """A folder for each concept, with images and masks in it."""
    for number, (name, shade) in enumerate(SHADES.items()):
        for i in range(each):
            image, mask = drawing(10 * number + i, shade)
            save(root / name / "images" / f"{i}.png", image)
            save(root / name / "masks" / f"{i}.png", mask)

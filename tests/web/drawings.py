"""Drawings as people make them on the page: shapes of a few lines, each time a little otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHAPES = (
    [(0, 0), (1, 1), None, (0, 1), (1, 0)],
    [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)],
    [(0.5, 0), (0.5, 1), None, (0, 0.5), (1, 0.5)],
    [(0, 1), (0.5, 0), (1, 1), (0, 1)],
    [(0, 0), (0, 1), (1, 1)],
    [(0, 0.5), (0.3, 1), (1, 0)],
    [(0, 0), (1, 0), (0, 1), (1, 1)],
)


def drawing(shape: int, seed: int, side: int = 280) -> Image.Image:
    draw = np.random.default_rng((shape, seed))
    image = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(image)
    (left, top), size = draw.uniform(0.1, 0.3, 2) * side, draw.uniform(0.4, 0.6) * side
    line: list[tuple[float, float]] = []
    for corner in [*SHAPES[shape], None]:
        if corner is None:
            pen.line(line, fill=0, width=int(draw.integers(5, 12)), joint="curve")
            line = []
        else:
            x, y = np.array(corner) + draw.normal(0, 0.05, 2)
            line.append((left + x * size, top + y * size))
    return image


def saved(folder: Path, shapes: int, each: int, seed: int = 0) -> tuple[list[Path], list[int]]:
    """PNG files of `each` drawings of so many shapes, and which shape each is."""
    files, labels = [], []
    for shape in range(shapes):
        for i in range(each):
            files.append(folder / f"{shape}-{seed + i}.png")
            drawing(shape, seed + i).save(files[-1])
            labels.append(shape)
    return files, labels

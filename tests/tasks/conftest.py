"""Small made-up data sets in the shape of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up import write_archive
from PIL import Image

BACKGROUND = ("Early_Aramaic", "Greek", "Hebrew", "Latin")
EVALUATION = ("Angelic", "Atlantean", "Tengwar")


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two archives like Omniglot's, of a few alphabets."""
    root = tmp_path_factory.mktemp("omniglot")
    write_archive(root / "images_background.zip", BACKGROUND)
    write_archive(root / "images_background_small1.zip", BACKGROUND[:2])
    write_archive(root / "images_evaluation.zip", EVALUATION)
    return root


@pytest.fixture(scope="session")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of twelve random walks of 40 to 51 points, their lines interleaved."""
    steps = np.random.default_rng(0).normal(size=(12, 52)).cumsum(axis=1)
    points = [(t, s) for t in range(52) for s in range(12) if t < 40 + s]
    path = tmp_path_factory.mktemp("series") / "walks.csv"
    path.write_text("time,sensor,°C\n" + "".join(f"{t},sensor {s},{steps[s, t]:.6f}\n" for t, s in points))
    return path


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

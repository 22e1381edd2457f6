"""What a new user brings: photos of several kinds, a recipe of their own, and mistakes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quickstudy.cli import main

Capture = pytest.CaptureFixture[str]
Command = Callable[..., "subprocess.CompletedProcess[str]"]

RECIPE = '''
import quickstudy as qs
from quickstudy.registry import learners, models, sources


def recipe():
    """Prototypes on procedural characters, as small as can be."""
    return qs.RunConfig(
        name="mine",
        tasks=sources.part("glyphs", alphabets=6, characters=6, size=16),
        model=models.part("conv4", width=8),
        learner=learners.part("protonet"),
        ways=5,
        shots=1,
        queries=2,
        train_ways=6,
        iterations=30,
        meta_batch=1,
        lr=5e-3,
        validate_every=15,
        validation_episodes=10,
        calibration_episodes=4,
        device="cpu",
    )
'''


def photo(kind: int, number: int, size: int = 24) -> Image.Image:
    """A blob of a colour and place of its own kind, on noise."""
    generator = np.random.default_rng(kind)
    colour, place = generator.integers(60, 256, 3), generator.integers(0, size - 10, 2)
    noise = np.random.default_rng((kind, number))
    pixels = noise.integers(0, 50, (size, size, 3), dtype=np.uint8)
    row, column = place + noise.integers(0, 3, 2)
    pixels[row : row + 8, column : column + 8] = colour
    return Image.fromarray(pixels)


def write_photos(root: Path, kinds: range, count: int, first: int = 0) -> Path:
    """One sub-folder a kind, `count` photos in each."""
    for kind in kinds:
        (root / f"kind{kind:02d}").mkdir(parents=True)
        for number in range(first, first + count):
            photo(kind, number).save(root / f"kind{kind:02d}" / f"{number}.png")
    return root


def refused(line: str, capsys: Capture) -> str:
    """What is printed to stderr for a mistake in `line`, whose exit status must be 2."""
    capsys.readouterr()
    try:
        status: object = main(line.split())
    except SystemExit as stopped:
        status = stopped.code
    out, err = capsys.readouterr()
    assert status == 2, out + err
    assert "Traceback" not in err
    return re.sub(r"\s+", " ", err.replace("│", " "))


def accepted(line: str, capsys: Capture) -> str:
    capsys.readouterr()
    assert main(line.split()) == 0
    return capsys.readouterr().out

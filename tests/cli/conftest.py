"""What a new user has: folders of photos, some of them broken, and a recipe file."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder a new user works in: ./photos, ./new-classes, ./unsorted and ./my_recipe.py."""
    folder = tmp_path_factory.mktemp("home")
    write_photos(folder / "photos", range(12), 6)
    write_photos(folder / "new-classes", range(20, 23), 2)
    (folder / "unsorted").mkdir()
    for kind in range(20, 23):
        for number in (7, 8):
            photo(kind, number).save(folder / "unsorted" / f"kind{kind:02d}-{number}.png")
    (folder / "my_recipe.py").write_text(RECIPE)
    return folder


@pytest.fixture(scope="session")
def quickstudy(home: Path) -> Command:
    """Run the installed command in the user's folder, as in a shell."""
    installed = Path(sysconfig.get_path("scripts")) / "quickstudy"
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "quickstudy"]
    clean = {n: v for n, v in os.environ.items() if not n.startswith("QUICKSTUDY_")}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        environment = clean | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(home / "cache"), "QS": " ".join(command)}
        return subprocess.run(f"$QS {line}", shell=True, cwd=home, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def photo_run(quickstudy: Command) -> subprocess.CompletedProcess[str]:
    """runs/mine: the user's own recipe on the user's own photos."""
    return quickstudy(
        "train my_recipe --tasks folder --tasks.root ./photos --tasks.size 16 --ways 3 --shots 1 --no-report"
    )

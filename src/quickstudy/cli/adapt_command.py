"""`quickstudy adapt RUN --support FOLDER`: learn new classes from a few images of each."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from quickstudy.cli.parse import find_run, parse
from quickstudy.errors import ConfigError
from quickstudy.runs.run import Run
from quickstudy.storage.folders import refuse_occupied
from quickstudy.tasks.images import read_folder


@dataclass
class Adapt:
    """Learn new classes from a folder with one sub-folder of images per class, and save the model that knows them."""

    run: tyro.conf.Positional[str]
    """A run: its folder, or its name under runs/."""
    support: Path
    """Folder with one sub-folder of images for each class; a sub-folder's name is its class."""
    out: Path
    """Folder to write the adapted model to."""
    broken: Literal["refuse", "skip"] = "refuse"
    """What to do with an image that cannot be read."""
    device: str | None = None
    """Another device than the run's."""


def run(argv: Sequence[str]) -> int:
    options = parse(Adapt, "adapt", argv)
    refuse_occupied(options.out)
    done = Run(find_run(options.run), device=options.device)
    image = done.learner.spec.image
    if image is None:
        raise ConfigError(
            f"The run {options.run} was not trained on images, so a folder of images is no task for it. "
            "Use run.adapt(x, labels) from Python."
        )
    folder = read_folder(
        options.support, image, broken=options.broken, notify=lambda text: print(text, file=sys.stderr)
    )
    began = time.perf_counter()
    model = done.adapt(folder.floats(), [folder.names[int(i)] for i in folder.labels])
    took = time.perf_counter() - began
    model.save(options.out)
    counts = folder.labels.bincount()
    shots = f"{int(counts.min())}" if counts.min() == counts.max() else f"{int(counts.min())} to {int(counts.max())}"
    print(f"Learned {len(model.classes)} classes from {shots} images each in {1000 * took:.0f} ms: {options.out}")
    print(f"Next: quickstudy predict {options.out} IMAGES … --out predictions.csv")
    return 0

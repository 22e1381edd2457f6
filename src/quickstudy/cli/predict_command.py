"""`quickstudy predict MODEL IMAGES`: class names and probabilities."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from quickstudy.cli.parse import parse, table
from quickstudy.deploy.model import AdaptedModel, Predictions
from quickstudy.errors import ConfigError, DataError
from quickstudy.storage.atomic import write_atomically
from quickstudy.tasks.images import list_images, read_images

_BATCH = 256
_SHOWN = 50  # rows printed when no file is asked for


@dataclass
class Predict:
    """Name the classes of images with a model from `quickstudy adapt`."""

    model: tyro.conf.Positional[Path]
    """Folder of the adapted model."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files, or folders of them."""
    out: Path | None = None
    """CSV file to write: file, class, probability, and the probability of every class."""
    broken: Literal["refuse", "skip"] = "refuse"
    """What to do with an image that cannot be read."""
    device: str = "auto"
    """Where to run."""


def run(argv: Sequence[str]) -> int:
    options = parse(Predict, "predict", argv)
    model = AdaptedModel.load(options.model, device=options.device)
    if model.image is None:
        raise ConfigError(
            f"{options.model} was not trained on images. Use AdaptedModel.load(…).predict(x) from Python."
        )
    files = [file for path in options.images for file in (list_images(path) if path.is_dir() else [path])]
    if not files:
        raise DataError("No images were given. Name files or folders after the model.")
    rows: list[list[str]] = []
    for start in range(0, len(files), _BATCH):
        chunk = files[start : start + _BATCH]
        x, kept, notices = read_images(chunk, model.image, broken=options.broken)
        for notice in notices:
            print(notice, file=sys.stderr)
        if len(kept):
            rows += _rows([chunk[int(i)] for i in kept], model.predict(x.float() / 255))
    header = ["file", "class", "probability", *(f"p({name})" for name in model.classes)]
    if options.out is None:
        table("", header[:3], [row[:3] for row in rows[:_SHOWN]])
        if len(rows) > _SHOWN:
            print(f"… and {len(rows) - _SHOWN} more. Write all of them with --out predictions.csv")
        return 0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    write_atomically(options.out, text.getvalue().encode())
    print(f"Wrote {len(rows)} predictions to {options.out}")
    return 0


def _rows(files: Sequence[Path], predictions: Predictions) -> list[list[str]]:
    return [
        [str(file), name, f"{probability:.4f}", *(f"{p:.4f}" for p in each.tolist())]
        for file, (name, probability), each in zip(files, predictions, predictions.probabilities, strict=True)
    ]

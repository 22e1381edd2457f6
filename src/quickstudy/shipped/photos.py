"""Photos: an encoder that others have trained, with a head in closed form. It is fetched once, then kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import torch

from quickstudy.errors import ConfigError, MissingExtra, QuickstudyError
from quickstudy.files import cache_folder
from quickstudy.recipes.own import photos as recipe
from quickstudy.registry import Part, formats, learners, models, sources
from quickstudy.runs.run import Run
from quickstudy.runs.train import keep
from quickstudy.shipped.places import PHOTOS
from quickstudy.storage.folders import take
from quickstudy.storage.json import write_json
from quickstudy.tasks.arrays import arrays
from quickstudy.tasks.classes import ClassSource
from quickstudy.training.build import build, initial_params
from quickstudy.training.config import RunConfig

DEFAULT = "mobilenetv3_small_100.lamb_in1k"
"""What it stands on where nothing is said: 1.5 million weights, 6 MB, Apache-2.0, trained on ImageNet."""
_SIDE = 224
_REMEDY = (
    "Where there is a connection, call quickstudy.pretrained('photos') once: it is kept. Or give an encoder that you "
    "have: a folder that timm's save_for_hf has written, or an .onnx file (encoder=…; --encoder)."
)
_WITHOUT = "Or train on photos of your own, which needs nothing else: quickstudy train photos --tasks.root FOLDER"


def photos(encoder: Any, device: str | None) -> Run:
    """Photos of any size, told apart by cosine prototypes over an encoder.

    encoder: see `quickstudy.pretrained`. The run is made once for each encoder, in the user's cache folder, with the
    weights in it. Raises MissingExtra for a library that is not there, ConfigError where the weights cannot be had.
    """
    part = _part(DEFAULT if encoder is None else encoder)
    config = _config(part)
    named = json.dumps([part.name, part.options, _print_of(part)], sort_keys=True, default=str)
    folder = cache_folder("pretrained", f"{PHOTOS}-{hashlib.sha256(named.encode()).hexdigest()[:16]}")
    if not (folder / "config.json").exists():
        with take(folder, wait=True):  # who comes second finds what the first has made
            if not (folder / "config.json").exists():
                try:
                    _make(folder, config)
                except MissingExtra as error:
                    purpose = "The encoder that 'photos' stands on"
                    raise MissingExtra(error.package, error.extra, purpose, _WITHOUT) from error
    return Run(folder, device=device)


def _part(encoder: Any) -> Part[Any]:
    """The encoder as a part."""
    if isinstance(encoder, Part):
        return encoder
    if not isinstance(encoder, str | Path):
        raise ConfigError(
            f"An encoder is the name of a model of timm, a folder, an .onnx file, or a part, found {encoder!r:.60}."
        )
    if Path(encoder).suffix == ".onnx":
        return models.part("onnx", file=str(Path(encoder).absolute()))
    return models.part("timm", name=str(Path(encoder).absolute()) if Path(encoder).is_dir() else str(encoder))


def _print_of(part: Part[Any]) -> list[Any]:
    """What tells whether a file that an option names is still the same."""
    files = [Path(value) for value in part.options.values() if isinstance(value, str) and Path(value).exists()]
    return [[str(file), file.stat().st_mtime_ns, file.stat().st_size] for file in files]


def _config(part: Part[Any]) -> RunConfig:
    learner = learners.part("protonet", distance="cosine", temperature=10.0)
    tasks = sources.part("folder", root=PHOTOS, size=_SIDE)
    return replace(recipe(), name=PHOTOS, tasks=tasks, model=part, learner=learner, iterations=0, optimizer="Adam")


def _make(folder: Path, config: RunConfig) -> None:
    """Write the run into its folder, the config last."""
    try:
        config = replace(config, model=config.model.settled(), device="cpu")
        blank = _blank(config)
        parts = build(config, source=blank)
        params = initial_params(parts, config)
    except MissingExtra:
        raise
    except QuickstudyError as error:
        raise ConfigError(f"{error} {_REMEDY}") from error
    keep(folder, parts, params, {"step": 0, "validation": nan, "validation_ci95": nan, "held_out": False})
    write_json(folder / "config.json", replace(config, device="auto").to_json())


def _blank(config: RunConfig) -> ClassSource:
    """Tasks of this format with nothing in them: the encoder is not trained, and what it takes is known."""
    format = formats.make("image", size=_SIDE, channels=3)
    names = [str(number) for number in range(config.ways)]
    splits = {"train": names, "val": [], "test": []}
    return arrays(torch.zeros(config.ways, 3, _SIDE, _SIDE, dtype=torch.uint8), names, splits=splits, format=format)

"""Adapted models that take each other's place in one folder, at once or not at all, and can be brought back."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quickstudy.deploy.store import NAME, read_model, save_model
from quickstudy.episode import Params
from quickstudy.errors import RunError
from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.folders import take

VERSIONS = "versions"
"""The folder, beside the model, of those that were there before."""
MOST = 5
"""How many are held; older ones go."""


def replace_model(folder: Path, parts: Mapping[str, Params], facts: Mapping[str, Any]) -> Path:
    """Put a model in the place of the one in `folder`, which becomes its last version.

    At every moment the folder holds one of the two, whole. RunError where there is none, or another process writes.
    """
    read_model(folder)  # refuses a run, and what is damaged, which would not be worth bringing back
    with take(folder):
        _held(folder)
        save_model(folder, parts, facts)
        for old in versions(folder)[:-MOST]:
            old.unlink()
    return folder


def versions(folder: Path) -> list[Path]:
    """The files of the models that were in `folder` before, the oldest first."""
    found = (folder / VERSIONS).glob("*.safetensors") if (folder / VERSIONS).is_dir() else ()
    return sorted(path for path in found if re.fullmatch(r"\d{6}\.safetensors", path.name))


def undo(folder: str | Path) -> Path:
    """Bring back the model that was in `folder` before the last change; that of the change is gone then.

    Returns the folder. RunError where no version is left, CheckpointError where it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        read_model(folder)  # says that there is none
    with take(folder):
        last = next((path for path in reversed(versions(folder)) if not _same(path, folder / NAME)), None)
        if last is None:
            raise RunError(f"There is nothing to undo in {folder}: no model was there before this one.")
        read_model(last.parent, last.name)
        for path in reversed(versions(folder)):
            if path != last and path.name > last.name:
                path.unlink()  # of a change that was killed before it was made
        last.replace(folder / NAME)
    return folder


def _held(folder: Path) -> None:
    """Make the model in `folder` its last version, unless it is that already: a change may have been killed."""
    held, model = versions(folder), folder / NAME
    if held and _same(held[-1], model):
        return
    number = int(held[-1].stem) + 1 if held else 1
    (folder / VERSIONS).mkdir(exist_ok=True)
    path = folder / VERSIONS / f"{number:06}.safetensors"
    try:
        os.link(model, path)  # the model's own file then: a later one has another, as it replaces it
    except OSError:  # a file system without links
        write_atomically(path, model.read_bytes())


def _same(one: Path, other: Path) -> bool:
    return other.exists() and (one.samefile(other) or one.read_bytes() == other.read_bytes())

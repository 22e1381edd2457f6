"""The files of adapted models: tensors, and what they mean, in one file under one checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from quickstudy.entries import prefixed, with_prefix
from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, RunError
from quickstudy.storage.folders import refuse_occupied, take
from quickstudy.storage.tensors import load_tensors, save_tensors

NAME = "model.safetensors"
KIND = "adapted model"
VERSION = 1
"""Of what is stored beside the tensors; later ones are refused."""
_PARTS = ("meta", "task", "fitted", "support", "tally", "trust")


class _Facts(TypedDict):
    """What is stored beside the tensors."""

    version: int
    config: dict[str, Any]
    names: list[str]
    spec: dict[str, Any]
    built: dict[str, Any]
    provenance: dict[str, Any]
    trust: NotRequired[dict[str, Any]]


def write_model(folder: Path, parts: Mapping[str, Params], facts: Mapping[str, Any]) -> Path:
    """The tensors of each part by its prefix, and the facts, into a folder that holds no model or run yet."""
    with take(folder):
        refuse_occupied(folder)
        save_model(folder, parts, facts)
    return folder


def save_model(folder: Path, parts: Mapping[str, Params], facts: Mapping[str, Any]) -> None:
    """`write_model` for whoever holds the folder, in the place of a model that is there."""
    tensors = {name: value for part, held in parts.items() for name, value in with_prefix(f"{part}.", held).items()}
    save_tensors(folder / NAME, tensors, {"kind": KIND, "version": VERSION, **facts})


def read_model(folder: Path, name: str = NAME) -> tuple[dict[str, Params], dict[str, Any]]:
    """The inverse of `write_model`. name: of the file. RunError where there is none, CheckpointError for one that is
    damaged or newer."""
    if not (folder / name).exists() or (folder / "config.json").exists():
        if (folder / "config.json").exists():
            raise RunError(
                f"{folder} is a run, which has learned how to learn but no task yet. Adapt it first: quickstudy adapt "
                f"{folder} --support EXAMPLES --out MODEL, or quickstudy.Run({str(folder)!r}).adapt(records, labels)."
            )
        raise RunError(f"There is no adapted model in {folder}: it has no {name}. Make one with quickstudy adapt.")
    tensors, facts = load_tensors(folder / name, KIND, _Facts)
    if facts["version"] > VERSION:
        raise CheckpointError(
            f"{folder / name} has version {facts['version']}, written by a newer quickstudy; this one reads up to "
            f"{VERSION}. Upgrade with: pip install --upgrade quickstudy"
        )
    return {part: prefixed(f"{part}.", tensors) for part in _PARTS}, facts

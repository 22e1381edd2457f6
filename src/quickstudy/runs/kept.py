"""The kept model of a run: φ of its best validation, and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from quickstudy.episode import Params
from quickstudy.errors import RunError
from quickstudy.storage.tensors import load_tensors

_FILE = "model.safetensors"


class Kept(TypedDict):
    """What is stored beside a kept φ: of which validation it is, and where it comes from."""

    spec: dict[str, Any]
    step: int
    validation: float
    validation_ci95: float
    held_out: NotRequired[bool]
    commit: NotRequired[str]
    machine: NotRequired[str]


def is_kept(folder: Path) -> bool:
    """Whether the run there has been validated, and so keeps a model."""
    return (folder / _FILE).exists()


def read_kept(folder: Path) -> tuple[Params, dict[str, Any]]:
    """φ, calibrated, and what is stored beside it. RunError where there is none yet."""
    if not is_kept(folder):
        raise RunError(f"{folder} has no kept model yet: it was stopped before its first validation. Resume it.")
    return load_tensors(folder / _FILE, "run", Kept)

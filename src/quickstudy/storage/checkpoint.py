"""Checkpoints from which training goes on to the same bits as if it had never stopped, on the same machine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, RunError
from quickstudy.storage.atomic import GO_ON
from quickstudy.storage.tensors import load_tensors, save_tensors


class Resumable(Protocol):
    """What can be stored and goes on to the same bits: φ, and all else that changes from step to step."""

    params: Params

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, by flat names."""

    def numbers(self) -> dict[str, Any]:
        """Everything else, as plain data."""

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Continue from what `tensors` and `numbers` gave."""


_KIND = "checkpoint"
_FIELDS = {"step": int, "outer": dict, "torch": str, "facts": dict}
_KEEP = 2  # so that one damaged file costs one interval and not the run
_RANDOM = "random."

logger = logging.getLogger("quickstudy")


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step-*.safetensors"))


def _device(outer: Resumable) -> torch.device:
    return next(iter(outer.params.values())).device


def _random(outer: Resumable) -> dict[str, Tensor]:
    states = {f"{_RANDOM}cpu": torch.get_rng_state()}
    if (device := _device(outer)).type == "cuda":
        states[f"{_RANDOM}cuda"] = torch.cuda.get_rng_state(device)
    return states


def save_checkpoint(folder: Path, outer: Resumable, step: int, facts: dict[str, Any]) -> None:
    """Store everything after outer step `step`, then drop all but the last two files.

    Episodes are a function of seed and index, so the step is their random state; PyTorch's global generators (the
    CPU's, and the CUDA device's where φ lies on one) are stored too, for modules of the user's that draw from them.
    facts: further plain data, given back by `load_checkpoint`.
    """
    tensors = outer.tensors() | _random(outer)
    meta = {"kind": _KIND, "step": step, "outer": outer.numbers(), "torch": torch.__version__, "facts": facts}
    save_tensors(folder / "checkpoints" / f"step-{step:09d}.safetensors", tensors, meta, GO_ON)
    for old in _files(folder)[:-_KEEP]:
        old.unlink()


def load_checkpoint(folder: Path, outer: Resumable) -> tuple[int, dict[str, Any]]:
    """Restore the newest good checkpoint into `outer`; (step, facts). Damaged files are named and passed over."""
    files = _files(folder)
    if not files:
        raise RunError(f"{folder} holds no checkpoint to go on from. Train it anew with --overwrite, or elsewhere.")
    problems = []
    for path in reversed(files):
        try:
            tensors, meta = load_tensors(path, _KIND, _FIELDS)
        except CheckpointError as error:
            problems.append(str(error))
            logger.warning("%s Trying the checkpoint before it.", error)
            continue
        torch.set_rng_state(tensors[f"{_RANDOM}cpu"])
        if (device := _device(outer)).type == "cuda" and f"{_RANDOM}cuda" in tensors:
            torch.cuda.set_rng_state(tensors[f"{_RANDOM}cuda"], device)
        outer.restore(tensors, meta["outer"])
        if meta["torch"] != torch.__version__:
            logger.warning(
                "The checkpoint was written with torch %s and this is %s: the run goes on, but not to the same bits.",
                meta["torch"],
                torch.__version__,
            )
        return meta["step"], meta["facts"]
    raise CheckpointError(f"{folder} has no usable checkpoint. " + " ".join(problems))

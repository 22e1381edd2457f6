"""Checkpoints from which training goes on to the same bits as if it had never stopped, on the same machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol, TypedDict, TypeVar

import torch
from torch import Tensor

from quickstudy.entries import require_alike
from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, DataError, fitting_together
from quickstudy.storage.atomic import GO_ON
from quickstudy.storage.json import fitting
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

    def rehearse(self) -> None:
        """Do what a step does, on anything: where what was restored does not fit, this raises."""


R = TypeVar("R", bound=Resumable)


class _Meta(TypedDict):
    step: int
    outer: dict[str, Any]
    torch: str
    facts: dict[str, Any]


_KIND = "checkpoint"
_KEEP = 2  # so that one damaged file costs one interval and not the run
_RANDOM = "random."

logger = logging.getLogger("quickstudy")


def _name(step: int) -> str:
    return f"step-{step:09d}.safetensors"


def _files(folder: Path) -> list[Path]:
    place = folder / "checkpoints"
    return sorted(path for path in place.iterdir() if path.match("step-*.safetensors")) if place.is_dir() else []


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
    save_tensors(folder / "checkpoints" / _name(step), tensors, meta, GO_ON)
    for old in _files(folder)[:-_KEEP]:
        old.unlink()


def load_checkpoint(folder: Path, fresh: Callable[[], R], facts: Any = dict) -> tuple[R, int, dict[str, Any]] | None:
    """The newest good checkpoint in what `fresh` makes, its step and its facts; None where none was written yet.

    fresh: makes what was stored, as it was before the first step. facts: the type of what was stored beside it. Damaged
    files, and files of something else, are named and passed over; CheckpointError if there is no other.
    """
    files = _files(folder)
    problems = []
    for path in reversed(files):
        try:
            tensors, meta = load_tensors(path, _KIND, _Meta)
            told = fitting(meta["facts"], facts, f"The facts of {path}")
            with fitting_together(f"{path} does not fit this run: training cannot go on from it", "Restore it."):
                _check(path, fresh(), tensors, meta)
                _restored(fresh(), tensors, meta).rehearse()
                outer = _restored(fresh(), tensors, meta)
                _set_random(outer, tensors)
        except (CheckpointError, DataError) as error:  # the latter for what is no file
            problems.append(str(error))
        else:
            if meta["torch"] != torch.__version__:
                logger.warning(
                    "The checkpoint was written with torch %s and this is %s: the run goes on, but not to the same "
                    "bits.", meta["torch"], torch.__version__,
                )  # fmt: skip
            return outer, meta["step"], told
        logger.warning("%s Trying the checkpoint before it.", problems[-1])
    if not files:
        return None
    raise CheckpointError(
        f"{folder} has no usable checkpoint. {' '.join(problems)} To train it again from its first step, delete "
        f"{folder / 'checkpoints'} and resume."
    )


def _check(path: Path, like: Resumable, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """CheckpointError if what was stored is not as `like`, from before the first step, becomes in a step."""
    if path.name != _name(meta["step"]):
        raise CheckpointError(f"{path} holds step {meta['step']}, not the one in its name. Rename or delete it.")
    if meta["step"]:
        like.rehearse()
    # Optimizers do not look at the shapes of their slots before they write to them.
    require_alike(like.tensors(), _own(tensors), "this run", str(path))


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(_RANDOM)}


def _restored(outer: R, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> R:
    """`outer`, from before the first step, with copies of what was stored: optimizers keep what they are given."""
    outer.restore({name: value.clone() for name, value in _own(tensors).items()}, deepcopy(meta["outer"]))
    return outer


def _set_random(outer: Resumable, tensors: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(tensors[f"{_RANDOM}cpu"])
    if (device := _device(outer)).type == "cuda" and f"{_RANDOM}cuda" in tensors:
        torch.cuda.set_rng_state(tensors[f"{_RANDOM}cuda"], device)

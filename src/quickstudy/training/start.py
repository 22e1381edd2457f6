"""What φ begins from: weights of the network's own, another run, or the seed."""

from __future__ import annotations

from pathlib import Path

from quickstudy.entries import CONSTANT, HEAD, INNER, MEMORY, PARAMETER, TEACHER, of_kind, prefixed, with_prefix
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, first_of
from quickstudy.learners import Learner
from quickstudy.registry import OWN, models
from quickstudy.storage.tensors import load_tensors
from quickstudy.training.config import RunConfig

_TAKEN = (PARAMETER, HEAD, INNER, CONSTANT)
_OWN = {
    "given": "the network starts from its own weights (--init fresh would draw it anew).",
    "fresh": "the network is drawn anew from the seed (--init given would start from its own weights).",
}


def taken_from(folder: str, params: Params) -> Params:
    """The entries of φ that the run in `folder` has in the same shape, with its values.

    Raises ConfigError if nothing of the network fits.
    """
    stored, _ = load_tensors(Path(folder) / "model.safetensors", "run")
    own = {n: v for n, v in params.items() if of_kind(n, _TAKEN)}
    taken = {n: stored[n].to(v.dtype) for n, v in own.items() if n in stored and stored[n].shape == v.shape}
    if not any(name.startswith(PARAMETER) for name in taken):
        here, there = (next((n for n in some if n.startswith(PARAMETER)), "") for some in (own, stored))
        raise ConfigError(
            f"Nothing of the network fits that of the run {folder}, from which it is to start: here is "
            f"{_shaped(here, own)}, there is {_shaped(there, stored)}. Start from a run of the same network."
        )
    return taken


def taught_by(folder: str, params: Params) -> Params:
    """The teacher's entries of φ, as the run in `folder` has them, statistics too; empty where φ has no teacher.

    Raises ConfigError for a teacher that is missing, of another network, or not asked for.
    """
    wanted = prefixed(TEACHER, params)
    if bool(wanted) != bool(folder):
        raise ConfigError(
            f"The run {folder} was given as a teacher, but this learner imitates none: set its distil above 0 "
            "(--learner.distil), or leave teacher out."
            if folder
            else "The learner is to imitate a teacher, but none was given. Name the folder of a finished run of the "
            "same network and learner: teacher=… (--teacher RUN), or set distil to 0."
        )
    if not folder:
        return {}
    stored, _ = load_tensors(Path(folder) / "model.safetensors", "run")
    own = {name: value for name, value in stored.items() if not name.startswith((TEACHER, MEMORY))}
    if strange := next((n for n, v in wanted.items() if n not in own or own[n].shape != v.shape), None):
        raise ConfigError(
            f"The run {folder} cannot be the teacher: here {strange!r} is {tuple(wanted[strange].shape)}, there it is "
            f"{tuple(own[strange].shape) if strange in own else 'nothing'}. A teacher has the same network, learner "
            "and training classes."
        )
    return with_prefix(TEACHER, own)


def _shaped(name: str, params: Params) -> str:
    return f"{name!r} {tuple(params[name].shape)}" if name else "no parameter"


def beginning(config: RunConfig, learner: Learner, params: Params) -> str:
    """What φ begins from, as the end of a sentence; '' where nothing but the seed was ever meant."""
    if not config.start:
        if config.model.name == OWN or config.weighted:
            kept = learner.network.undrawn if config.init == "fresh" else []
            but = f", but for {first_of(kept)}, which no layer draws" if kept else ""
            return _OWN[config.init].replace(" (--init given", f"{but} (--init given")
        options = ", ".join(f"--model.{name}" for name in models.traits(config.model.name).drawn)
        return f"the network is drawn from the seed ({options} would give it weights)." if options else ""
    moved = [name for name in params if learner.moves(name)]
    anew = sorted(set(moved) - taken_from(config.start, params).keys())
    rest = f"; {len(anew)} are drawn anew: {', '.join(anew[:3])}{', …' if len(anew) > 3 else ''}" if anew else ""
    return f"{len(moved) - len(anew)} of its parameters start from the run {config.start}{rest}."

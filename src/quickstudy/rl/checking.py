"""Whether an environment keeps its contract: looked at where playing begins, in the first step of each play."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import DataError, QuickstudyError, ShapeError, lacks_memory
from quickstudy.rl.environment import Environment, Step


@contextmanager
def theirs(environment: Environment, what: str) -> Iterator[None]:
    """Within it, what an environment's own code raises is a DataError that says in which of its methods and where."""
    try:
        yield
    except QuickstudyError:
        raise
    except Exception as error:  # whatever the code of others raises
        if lacks_memory(error):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(
            f"{environment.name} failed in {what}: {type(error).__name__}: {str(error)[:300]} ({place.filename}, line "
            f"{place.lineno}). Mend the environment."
        ) from error


def require_lanes(environment: Environment, what: str, found: Any, count: int) -> None:
    """ShapeError where `what` did not give a mapping of tensors with an axis of so many lanes."""
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        kinds = {k: type(v).__name__ for k, v in found.items()} if isinstance(found, Mapping) else type(found).__name__
        raise ShapeError(
            f"{environment.name}.{what} must give tensors by their names, such as {{'place': …}}, found {kinds}. "
            "Correct it."
        )
    for name, value in found.items():
        if value.dim() < 1 or len(value) != count:
            raise ShapeError(
                f"{environment.name}.{what} gave {name!r} of the shape {tuple(value.shape)} for {count} lanes. Its "
                "first axis must be that of lanes: an entry for each."
            )


def require_seen(environment: Environment, seen: Any, count: int) -> None:
    """ShapeError where what is seen is not what `observation` promises, in floating point."""
    wanted = (count, *environment.observation)
    found = _kind(seen)
    if not isinstance(seen, Tensor) or tuple(seen.shape) != wanted or not seen.is_floating_point():
        raise ShapeError(
            f"{environment.name}.observe must give floating point numbers of the shape {wanted}, lanes and what "
            f"`observation` says, found {found}. Correct one of them."
        )


def require_step(environment: Environment, step: Any, before: Mapping[str, Tensor], count: int) -> None:
    """ShapeError where a step is not what it must be: the state as it was shaped before, a reward and an end a lane."""
    if not isinstance(step, Step):
        raise ShapeError(
            f"{environment.name}.step must give Step(state, reward, ended), found {type(step).__name__}. Correct it."
        )
    require_lanes(environment, "step", step.state, count)
    was, now = ({k: (tuple(v.shape), v.dtype) for k, v in state.items()} for state in (before, step.state))
    if was != now:
        raise ShapeError(
            f"{environment.name}.step must keep the state as reset makes it, {_told(was)}, found {_told(now)}. Correct "
            "one of them."
        )
    parts = [("reward", step.reward, "floating point"), ("ended", step.ended, "bool")]
    parts += [("expected", step.expected, "floating point")] if step.expected is not None else []
    for name, value, kind in parts:
        right = isinstance(value, Tensor) and (
            value.dtype == torch.bool if name == "ended" else value.is_floating_point()
        )
        if not right or tuple(value.shape) != (count,):
            raise ShapeError(
                f"{environment.name}.step must give `{name}` as {kind} of the shape ({count},), one for each lane, "
                f"found {_kind(value)}. Correct it."
            )


def require_rules(environment: Environment, rules: Any, count: int, numbers: int) -> None:
    """ShapeError where what training is told is not so many finite numbers for each of `count` tasks."""
    right = isinstance(rules, Tensor) and rules.is_floating_point() and tuple(rules.shape) == (count, numbers)
    if not right or not bool(rules.isfinite().all()):
        raise ShapeError(
            f"{environment.name}.rules must give finite floating point numbers of the shape ({count}, {numbers}), "
            f"tasks and `rules` of its actions, found {_kind(rules)}. Correct one of them."
        )


def _kind(value: Any) -> str:
    return f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _told(state: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> str:
    return "{" + ", ".join(f"{name!r}: {shape} {dtype}" for name, (shape, dtype) in state.items()) + "}"

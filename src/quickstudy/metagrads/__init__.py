"""How ∂L/∂φ is taken, one estimator a file. Each needs only the learner's contract."""

from __future__ import annotations

import inspect
from typing import Any

from quickstudy.errors import ConfigError, unknown_name
from quickstudy.metagrads.base import ONE_TASK, Metagrad, OneTask, Runner, Score
from quickstudy.metagrads.evolution import Evolution
from quickstudy.metagrads.first_order import FirstOrder
from quickstudy.metagrads.implicit import Implicit
from quickstudy.metagrads.recompute import Recompute
from quickstudy.metagrads.reptile import Reptile
from quickstudy.metagrads.truncated import Truncated
from quickstudy.metagrads.unrolled import Unrolled

METAGRADS: dict[str, type[Metagrad]] = {
    "unrolled": Unrolled,
    "recompute": Recompute,
    "truncated": Truncated,
    "first_order": FirstOrder,
    "implicit": Implicit,
    "evolution": Evolution,
    "reptile": Reptile,
}


def metagrad(name: str, **options: Any) -> Metagrad:
    """The estimator called `name`; a ConfigError with the nearest names if there is none, or for options it lacks."""
    if name not in METAGRADS:
        raise unknown_name("meta-gradient estimator", name, METAGRADS)
    known = inspect.signature(METAGRADS[name]).parameters
    for option in options:
        if option not in known:
            raise unknown_name(f"option of the estimator {name!r}", option, known)
    try:
        return METAGRADS[name](**options)
    except TypeError as error:
        raise ConfigError(f"The estimator {name!r} cannot be built with the options {options}: {error}.") from error


__all__ = [
    "METAGRADS",
    "ONE_TASK",
    "Evolution",
    "FirstOrder",
    "Implicit",
    "Metagrad",
    "OneTask",
    "Recompute",
    "Reptile",
    "Runner",
    "Score",
    "Truncated",
    "Unrolled",
    "metagrad",
]

"""The task source 'gym'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quickstudy.errors import ConfigError
from quickstudy.registry import sources
from quickstudy.rl.checking import theirs
from quickstudy.rl.gym.adapter import GymEnvironment
from quickstudy.rl.source import EnvironmentSource
from quickstudy.simulators.families import FAMILIES
from quickstudy.simulators.making import Maker
from quickstudy.simulators.vary import Variations


def _settled(**options: Any) -> dict[str, Any]:
    """A Python file by its absolute path."""
    return options | ({"id": str(Path(options["id"]).absolute())} if options["id"].endswith(".py") else {})


@sources.register("gym", data="Gymnasium (extra rl)", settle=_settled)
def gym(
    *,
    id: str,
    vary: tuple[str, ...] = (),
    horizon: int | None = None,
    level: bool = False,
    alone: bool = False,
    workers: int | None = None,
    past: bool = False,
    unit: float | None = None,
) -> EnvironmentSource:
    """Environments: those of Gymnasium, in which each task sets numbers.

    id: a family by its name (cheetah-dir, reacher, …), an id of Gymnasium, or a Python file whose function make(…) is
    given the numbers of a task by their names and returns an environment. vary: what tasks differ in, such as 'length
    0.3 0.7' (between two numbers), 'size 5..9' (whole numbers) and 'mode 0|4|8' (one of these); of an id it names
    attributes of the environment, within others after a dot. horizon: steps of an episode; of the environment, if not
    given. level: every episode of a task begins from the same seed, its own: for environments that draw a level by it.
    alone: there is one task, the environment as it is, with the numbers that vary sets: what agents without
    meta-training learn in. workers: processes that simulators run in; if not given, one for each processor where a step
    is slow, else none. past: the agent sees what it did last and what that brought, which one that remembers needs.
    unit: in which it is told rewards; 1, or the family's, if not given. Where small differences of them tell what to
    do, as of distances to a goal, one of about their size.
    """
    family = FAMILIES.get(id)
    texts = vary or (family.vary if family and not alone else ())
    variations = Variations.of(texts, level or (family is not None and family.level and not alone))
    if alone:
        variations.require_none()
    else:
        variations.require_some()
    maker = Maker(id, variations)
    steps = horizon if horizon is not None else family.horizon if family else _limit(maker)
    told = unit if unit is not None else family.unit if family else 1.0
    return EnvironmentSource.of(GymEnvironment(maker=maker, horizon=steps, workers=workers), past, told)


def _limit(maker: Maker) -> int:
    """The limit that an environment was registered with, or, of a file, that it was made with."""
    with theirs(GymEnvironment(maker=maker, horizon=1), "make"):
        limit = maker.limit()
    if limit is None:
        raise ConfigError(
            f"{maker.id} names no limit of time. Say after how many steps an episode's time is up: horizon (train: "
            "--tasks.horizon 100, adapt: --environment.horizon 100)."
        )
    return limit

"""Environments of Gymnasium as an `Environment`: a simulator for each lane."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import targets
from quickstudy.rl.checking import theirs
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.gym.drawing import draw, names
from quickstudy.rl.gym.pool import Pool
from quickstudy.simulators.making import Maker
from quickstudy.simulators.simulator import Facts, facts
from quickstudy.simulators.vary import Variations
from quickstudy.targets import Target
from quickstudy.tasks.base import SPLITS

_SLOW = 1e-4  # seconds of a step, from which simulators get processes of their own


@dataclass(frozen=True, kw_only=True)
class GymEnvironment(Environment):
    """A family of environments of Gymnasium (Towers et al. 2024) whose tasks differ in numbers that are set in them.

    They are no pure functions: what has happened lies in simulators. A state, {'lane', 'ticket': (n,) int64, 'seen':
    (n, *observation) float32}, says in which, and can be gone on from once; an old one is refused with a DataError.
    All else is as the contract says: the same keys bring the same trajectory in every batch and on any number of
    workers, since an episode draws all chance from a seed of its key at `reset`; `step` needs no keys.

    `ended` is Gymnasium's terminated. Its truncated is a limit of time, which `horizon` is here: the limit of its
    registration is taken off, and an environment that cuts episodes off before `horizon` is refused.

    workers: processes that simulators run in; 0: in this one; None: one for each processor, shared with processes that
    train together, if a step takes more than a tenth of a millisecond, else 0.
    """

    maker: Maker
    workers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"Simulators run in 0 or more workers, found {self.workers}. Raise it.")

    @property
    def name(self) -> str:
        return self.maker.id

    @cached_property
    def facts(self) -> Facts:
        """What one task, tried for some steps, shows of all."""
        numbers = draw(self._variations, "train", rng.key(0, "tried")[None])
        with theirs(self, "its first steps"):
            return facts(self.maker, tuple(numbers[0].tolist()))

    @cached_property
    def pool(self) -> Pool:
        """The simulators. They are ended when the environment is no longer used."""
        workers = self.workers
        if workers is None:
            workers = _processors() if self.facts.seconds > _SLOW and _processors() > 1 and os.name == "posix" else 0
        return Pool(self.maker, self.horizon, workers)

    @property
    def _variations(self) -> Variations:
        return self.maker.variations

    @cached_property
    def actions(self) -> Target:
        made: Target = targets.make("actions", count=self.facts.count, size=self.facts.size)
        return made

    @property
    def observation(self) -> tuple[int, ...]:
        return self.facts.shape

    def tasks(self, split: str) -> list[str]:
        if not self._variations.all and not self._variations.level:
            return [self.maker.id]
        return names(self._variations, split)

    def task(self, split: str, keys: Tensor) -> State:
        """'numbers': (n, P) float32, in the order of the variations; with levels, also 'seed': (n,) int64."""
        drawn = {"numbers": draw(self._variations, split, rng.fold(keys, 0))}
        return drawn | {"seed": _levels(split, rng.fold(keys, 1))} if self._variations.level else drawn

    def reset(self, task: State, keys: Tensor) -> State:
        return self._begun(task, keys, range(len(keys)))

    def _begun(self, task: State, keys: Tensor, lanes: Sequence[int]) -> State:
        seeds = task["seed"] if self._variations.level else _seeds(keys)
        seen, tickets = self.pool.begin(lanes, _rows(task["numbers"]), seeds.tolist())
        device = keys.device
        return {
            "lane": torch.tensor(lanes, device=device),
            "ticket": torch.tensor(tickets, device=device),
            "seen": torch.from_numpy(seen).to(device),
        }

    def anew(self, task: State, state: State, where: Tensor, keys: Tensor) -> State:
        lanes = state["lane"].tolist()
        self.pool.require_current(lanes, state["ticket"].tolist(), _rows(task["numbers"]))
        if not bool(where.any()):
            return state
        own = {name: value[where] for name, value in task.items()}
        begun = self._begun(own, keys[where], state["lane"][where].tolist())
        after = {name: value.clone() for name, value in state.items()}
        for name, value in begun.items():
            after[name][where] = value
        return after

    def observe(self, task: State, state: State) -> Tensor:
        return state["seen"]

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        if not bool(torch.isfinite(action).all()):
            raise DataError("An action is no finite number: the agent's network has diverged. Lower the learning rate.")
        found, tickets = self.pool.step(
            state["lane"].tolist(), state["ticket"].tolist(), _rows(task["numbers"]), action.cpu().numpy()
        )
        device = action.device
        after = {
            "lane": state["lane"],
            "ticket": torch.tensor(tickets, device=device),
            "seen": torch.from_numpy(found.seen).to(device),
        }
        return Step(after, torch.from_numpy(found.reward).to(device), torch.from_numpy(found.ended).to(device))

    def drawable(self) -> Self:
        """With simulators of its own, in this process, that have a render_mode."""
        return replace(self, maker=replace(self.maker, drawn=True), workers=0)

    def picture(self, task: State, state: State) -> Tensor:
        if not self.maker.drawn:
            raise ConfigError(
                f"{self.maker.id} is made without pictures here. Ask the environment that drawable() gives."
            )
        pixels = self.pool.draw(state["lane"].tolist(), state["ticket"].tolist(), _rows(task["numbers"]))
        return torch.from_numpy(pixels / 255).to(state["seen"])


def _processors() -> int:
    """Those that this process may use, of several that torchrun started here its share."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _rows(numbers: Tensor) -> list[tuple[float, ...]]:
    return [tuple(row) for row in numbers.tolist()]


def _levels(split: str, keys: Tensor) -> Tensor:
    """Seeds of levels, of 31 bits: no split has one of another's."""
    return len(SPLITS) * (rng.bits(keys, ()) >> 34) + SPLITS.index(split)


def _seeds(keys: Tensor) -> Tensor:
    """Numbers of 31 bits, which every simulator takes."""
    return rng.bits(keys, ()) >> 32

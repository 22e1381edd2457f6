"""One task of a family: an environment that is always the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy.episode import State
from quickstudy.errors import ConfigError, ShapeError, unknown_name
from quickstudy.rl.environment import Environment, Step
from quickstudy.targets import Target


@dataclass(frozen=True, kw_only=True)
class Fixed(Environment):
    """The task of `environment` with some of what tells tasks apart given, and the rest drawn. `only` makes it."""

    environment: Environment
    given: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.environment.name

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        return self.environment.limits

    @property
    def actions(self) -> Target:
        return self.environment.actions

    @property
    def observation(self) -> tuple[int, ...]:
        return self.environment.observation

    def task(self, split: str, keys: Tensor) -> State:
        own = {name: value.to(keys.device).expand(len(keys), *value.shape) for name, value in self.given.items()}
        return self.environment.task(split, keys) | own

    def reset(self, task: State, keys: Tensor) -> State:
        return self.environment.reset(task, keys)

    def anew(self, task: State, state: State, where: Tensor, keys: Tensor) -> State:
        return self.environment.anew(task, state, where, keys)

    def observe(self, task: State, state: State) -> Tensor:
        return self.environment.observe(task, state)

    def tasks(self, split: str) -> list[str]:
        drawn = self.environment.task(split, torch.zeros(1, dtype=torch.int64))
        return ["this one"] if drawn.keys() <= self.given.keys() else self.environment.tasks(split)

    def rules(self, task: State) -> Tensor:
        return self.environment.rules(task)

    def picture(self, task: State, state: State) -> Tensor:
        return self.environment.picture(task, state)

    def drawable(self) -> Self:
        return replace(self, environment=self.environment.drawable())

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        return self.environment.step(task, state, action, keys)


def only(environment: Environment, **given: Any) -> Fixed:
    """The task of a family with these values of what tells its tasks apart, such as `arms=[0.1, 0.9]`.

    >>> from quickstudy.rl import Bandit
    >>> only(Bandit(arms=2), arms=[0.1, 0.9]).task("test", torch.zeros(1, dtype=torch.int64))["arms"]
    tensor([[0.1000, 0.9000]])
    """
    drawn = environment.task("test", torch.zeros(1, dtype=torch.int64))
    values = {}
    for name, value in given.items():
        if name not in drawn:
            raise unknown_name("part of a task", name, drawn)
        shape = tuple(drawn[name].shape[1:])
        try:
            values[name] = torch.as_tensor(value, dtype=drawn[name].dtype).reshape(shape)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ShapeError(
                f"{name} of a task is numbers of the shape {shape}, found {value!r:.60}. Correct it."
            ) from error
        low, high = environment.limits.get(name, (-math.inf, math.inf))
        if not bool(((values[name] >= low) & (values[name] <= high) & values[name].isfinite()).all()):
            within = f" from {low:g} to {high:g}" if name in environment.limits else ""
            raise ConfigError(f"{name} of a task is finite numbers{within}, found {value!r:.60}. Correct it.")
    return Fixed(horizon=environment.horizon, environment=environment, given=values)

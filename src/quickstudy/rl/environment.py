"""The contract of an environment: a family of tasks as pure functions of tensors, thousands side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from quickstudy.episode import State
from quickstudy.errors import ConfigError
from quickstudy.targets import Target


class Step(NamedTuple):
    """What follows an action in each of n lanes. state: after it. reward: (n,). ended: (n,) bool, where the episode is
    over by the environment's own rules; that its time is up is not one of them. expected: (n,), the mean of the reward
    given the task, the state and the action, where it is known and the reward itself is drawn: an agent is paid the
    reward, and trained by its mean, which gives the same gradient on average with less noise."""

    state: State
    reward: Tensor
    ended: Tensor
    expected: Tensor | None = None

    @property
    def worth(self) -> Tensor:
        """What agents are trained by: the expected reward where it is known, else the reward."""
        return self.reward if self.expected is None else self.expected


@dataclass(frozen=True, kw_only=True)
class Environment(ABC):
    """A family of tasks that an agent can act in. A frozen dataclass: what tasks differ in is drawn for each of them.

    All tensors have a leading axis of lanes, n: environments side by side, each of a task of its own or of the same.
    Everything is a pure function of its arguments: chance comes from `keys` (n,) int64, see `quickstudy.rng`, so that
    the same keys bring the same on every device and in every batch.

    horizon: steps of an episode, after which its time is up.
    """

    horizon: int

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ConfigError(f"An episode has 1 step or more, found horizon={self.horizon}. Raise it.")

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """What parts of a task can be at least and at most, by their names, where others make no sense."""
        return {}

    @property
    @abstractmethod
    def actions(self) -> Target:
        """The target 'actions': what can be done."""

    @property
    @abstractmethod
    def observation(self) -> tuple[int, ...]:
        """The shape of what is seen in one lane."""

    @abstractmethod
    def task(self, split: str, keys: Tensor) -> State:
        """What tells tasks apart, such as where a goal is: tensors (n, …), drawn by keys (n,)."""

    @abstractmethod
    def reset(self, task: State, keys: Tensor) -> State:
        """The state at the beginning of an episode, tensors (n, …)."""

    def anew(self, task: State, state: State, where: Tensor, keys: Tensor) -> State:
        """The state where an episode begins in the lanes `where` (n,) bool, and goes on in the others."""
        return chosen(where, self.reset(task, keys), state)

    @abstractmethod
    def observe(self, task: State, state: State) -> Tensor:
        """What the agent sees, (n, *observation)."""

    @abstractmethod
    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        """What an action (n,), or (n, D) of numbers, leads to; those outside of what is allowed are cut to it."""

    def rules(self, task: State) -> Tensor:
        """What training may tell of tasks, though it is not seen: (n, R) numbers from about -1 to 1, where R is
        `rules` of `actions`. Agents can be trained to guess them."""
        raise ConfigError(
            f"{type(self).__name__} does not tell the rules of its tasks, though its actions have rules. Give it a "
            "method rules(task), or leave rules out of its actions."
        )

    def picture(self, task: State, state: State) -> Tensor:
        """What lanes look like to people, (n, height, width, 3) in [0, 1]; ConfigError where nothing draws them."""
        raise ConfigError(
            f"{type(self).__name__} cannot be drawn: nothing says what it looks like. Give it a method picture(task, "
            "state)."
        )

    def drawable(self) -> Self:
        """The same environment, made so that it can be asked for pictures."""
        return self

    def optimum(self, episodes: int) -> float | None:
        """The expected return of an episode, the mean over so many of a trial, of the best agent that there can be;
        None where it is not known."""
        return None

    def tasks(self, split: str) -> list[str]:
        """The names of all tasks of a split, where there are so few that agents can know each; empty where tasks are
        drawn from infinitely many, so that none is in two splits."""
        return []


def chosen(condition: Tensor, one: State, other: State) -> State:
    """Of two states, the first in lanes where the condition (n,) holds."""
    return {
        name: torch.where(condition.view(-1, *[1] * (value.dim() - 1)), value, other[name])
        for name, value in one.items()
    }

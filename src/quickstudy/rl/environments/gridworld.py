"""A grid with a goal that is not seen until it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.errors import ConfigError
from quickstudy.hints import Size
from quickstudy.registry import sources, targets
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.optimal import belief_optimal
from quickstudy.rl.pictures import AGENT, WALL, cells, discs
from quickstudy.rl.source import EnvironmentSource
from quickstudy.targets import Target

_LARGEST, _LONGEST = 5, 16  # cells to a side, and steps, of grids that are searched in seconds
_SIDE = 50  # cells, of which each is a task with a name
_CELL = 24  # pixels
_STEPS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


@dataclass(frozen=True, kw_only=True)
class GridWorld(Environment):
    """A grid of size by size cells, of which one is the goal: any but the corner where episodes begin (Zintgraf et al.
    2020, but there the goal is not next to that corner).

    Each step the agent stays or moves up, down, left or right, against a wall nowhere, and gets 1 on the goal and
    `penalty` elsewhere. It sees its row and column, in [0, 1]. An episode ends after `horizon` steps alone. There are
    only size² − 1 tasks, so all splits have the same.
    """

    size: int = 5
    penalty: float = -0.1
    horizon: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.size <= _SIDE:
            raise ConfigError(f"A grid has from 2 to {_SIDE} cells to a side, found size={self.size}. Change it.")

    @property
    def actions(self) -> Target:
        made: Target = targets.make("actions", count=len(_STEPS), names=("stay", "up", "down", "left", "right"))
        return made

    @property
    def observation(self) -> tuple[int, ...]:
        return (2,)

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"goal": (1, self.size**2 - 1)}  # cells, row by row; 0 is the start

    def tasks(self, split: str) -> list[str]:
        cells = (divmod(cell, self.size) for cell in range(1, self.size**2))
        return [f"goal in row {row + 1}, column {column + 1}" for row, column in cells]

    def optimum(self, episodes: int) -> float | None:
        if self.size > _LARGEST or self.horizon > _LONGEST:
            return None
        return belief_optimal(self.size, self.horizon, episodes, self.penalty) / episodes

    def task(self, split: str, keys: Tensor) -> State:
        return {"goal": 1 + rng.integers(keys, self.size**2 - 1)}

    def reset(self, task: State, keys: Tensor) -> State:
        return {"place": torch.zeros((len(keys), 2), dtype=torch.int64, device=keys.device)}

    def observe(self, task: State, state: State) -> Tensor:
        return state["place"].float() / max(self.size - 1, 1)

    def picture(self, task: State, state: State) -> Tensor:
        lane, goal = torch.arange(len(task["goal"])), task["goal"].cpu()
        planes = torch.zeros(len(goal), 3, self.size, self.size)
        planes[lane, 2, goal // self.size, goal % self.size] = 1.0
        picture = cells(planes, _CELL)
        y, x = (state["place"].cpu().float() * _CELL + _CELL / 2).unbind(1)
        picture[:, ::_CELL] = picture[:, :, ::_CELL] = torch.tensor(WALL)
        return discs(picture, x, y, 0.35 * _CELL, AGENT)

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        moves = torch.tensor(_STEPS, device=action.device)
        place = (state["place"] + moves[action]).clamp(0, self.size - 1)
        there = place[:, 0] * self.size + place[:, 1] == task["goal"]
        return Step({"place": place}, torch.where(there, 1.0, self.penalty), torch.zeros_like(there))


@sources.register("gridworld")
def gridworld(*, size: Size = 5, penalty: float = -0.1, horizon: Size = 15, past: bool = True) -> EnvironmentSource:
    """Environments: a grid with a goal that is not seen, and 1 for each step on it.

    size: cells to a side. penalty: the reward of a step elsewhere. horizon: steps of an episode. past: the agent sees
    what it did last and what that brought, which one that remembers needs.
    """
    return EnvironmentSource.of(GridWorld(size=size, penalty=penalty, horizon=horizon), past)

"""The arcade for one who sees all: what is best, as a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import State
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.environments.arcade.board import THINGS
from quickstudy.rl.environments.arcade.family import Arcade
from quickstudy.rl.environments.driver import surely
from quickstudy.rl.play import Memory, Policy, Stage
from quickstudy.rl.source import EnvironmentSource
from quickstudy.targets import Target

_SHEETS, _CLOCKS = ("row", "col", "down", "right", "kind"), ("clock", "last")


@dataclass(frozen=True, kw_only=True)
class Revealed(Environment):
    """An arcade of which the whole state is seen, as numbers (102,); else it is the same, with the same chance."""

    arcade: Arcade

    @property
    def actions(self) -> Target:
        return self.arcade.actions

    @property
    def observation(self) -> tuple[int, ...]:
        return (len(_SHEETS) * THINGS + len(_CLOCKS),)

    def task(self, split: str, keys: Tensor) -> State:
        return self.arcade.task(split, keys)

    def rules(self, task: State) -> Tensor:
        return self.arcade.rules(task)

    def reset(self, task: State, keys: Tensor) -> State:
        return self.arcade.reset(task, keys)

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        return self.arcade.step(task, state, action, keys)

    def observe(self, task: State, state: State) -> Tensor:
        told = [state[name] for name in _SHEETS] + [state[name][:, None] for name in _CLOCKS]
        return torch.cat(told, 1).to(torch.float32)

    def read(self, x: Tensor) -> State:
        """The state that is seen, (n, 102)."""
        whole = x.round().long()
        sheets = whole[:, : -len(_CLOCKS)].reshape(len(x), len(_SHEETS), THINGS)
        state = {name: sheets[:, i] for i, name in enumerate(_SHEETS)}
        return state | {name: whole[:, i - len(_CLOCKS)] for i, name in enumerate(_CLOCKS)}


def oracle_stage(stage: Stage) -> tuple[Stage, Policy]:
    """The same tasks with the same chance for one who sees all, and how that one plays: what is about the best.

    Play it with `stage, policy = oracle_stage(stage)` and `stage.play(policy, {}, episodes)`.
    """
    assert isinstance(stage.environment, Arcade)
    arcade = stage.environment
    revealed = Revealed(arcade=arcade, horizon=arcade.horizon)

    def policy(memory: Memory, x: Any, first: Tensor) -> tuple[Memory, Tensor]:
        return memory, surely(arcade.oracle(stage.task, revealed.read(x)), stage.spec.outputs)

    return Stage(revealed, stage.task, stage.keys, EnvironmentSource.of(revealed, past=False).spec), policy

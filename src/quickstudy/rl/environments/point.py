"""A point in the plane that must find its goal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.hints import Size
from quickstudy.registry import sources, targets
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.pictures import AGENT, GOAL, canvas, discs
from quickstudy.rl.source import EnvironmentSource
from quickstudy.targets import Target

_PIXELS = 160
Goals = Literal["square", "half-circle"]


@dataclass(frozen=True, kw_only=True)
class PointRobot(Environment):
    """A point that moves by up to `reach` in each direction a step, from the origin, and sees where it is. Actions of 1
    are moves of `reach`.

    goals: of a task, uniform in the square [−½, ½]² (Finn et al. 2017), or on the upper half of the unit circle
    (Rakelly et al. 2019). The reward is less the distance to the goal after the step; or, where `radius` is given, 1
    less the distance within it and 0 outside, which must be searched for.
    """

    goals: Goals = "square"
    radius: float = 0.0
    reach: float = 0.1
    horizon: int = 100

    @property
    def actions(self) -> Target:
        made: Target = targets.make("actions", size=2, names=("x", "y"))
        return made

    @property
    def observation(self) -> tuple[int, ...]:
        return (2,)

    def task(self, split: str, keys: Tensor) -> State:
        if self.goals == "square":
            return {"goal": rng.uniform(keys, (2,), -0.5, 0.5)}
        angle = rng.uniform(keys, (), 0.0, math.pi)
        return {"goal": torch.stack([angle.cos(), angle.sin()], -1)}

    def reset(self, task: State, keys: Tensor) -> State:
        return {"place": torch.zeros_like(task["goal"])}

    def observe(self, task: State, state: State) -> Tensor:
        return state["place"]

    def picture(self, task: State, state: State) -> Tensor:
        picture = canvas(len(state["place"]), _PIXELS, _PIXELS, state["place"].device)
        for place, radius, colour in ((task["goal"], 6.0, GOAL), (state["place"], 4.0, AGENT)):
            x, y = (_PIXELS / 2 + 0.4 * _PIXELS * place / (0.5 if self.goals == "square" else 1.0)).unbind(1)
            picture = discs(picture, x, _PIXELS - y, radius, colour)
        return picture

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        place = state["place"] + self.reach * action.clamp(-1, 1)
        far = (place - task["goal"]).norm(dim=1)
        reward = torch.where(far < self.radius, 1 - far, 0.0) if self.radius else -far
        return Step({"place": place}, reward, torch.zeros_like(far, dtype=torch.bool))


@sources.register("point-robot")
def point_robot(
    *, goals: Goals = "square", radius: float = 0.0, reach: float = 0.1, horizon: Size = 100, past: bool = False
) -> EnvironmentSource:
    """Environments: a point in the plane with a goal that it is not told.

    goals: in a square, or on a half-circle. radius: reward only so near to the goal; 0 rewards every step. reach: of
    one step. horizon: steps of an episode. past: the agent sees what it did last and what that brought, which one that
    remembers needs.
    """
    made = PointRobot(goals=goals, radius=radius, reach=reach, horizon=horizon)
    return EnvironmentSource.of(made, past)

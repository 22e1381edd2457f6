"""A small environment of Gymnasium in a file, and how environments are made and played in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.registry import sources
from quickstudy.rl.environment import Step
from quickstudy.rl.gym.adapter import GymEnvironment

LINE = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Sequence, Text

class Line(gymnasium.Env):
    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-2.0, 4.0, (1,))

    def __init__(self, pull):
        self.pull, self.x, self.t, self.action = pull, 0.0, 0, 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.normal(), 0
        return self.seen(), {}

    def seen(self):
        return np.array([self.x, self.t])

    def step(self, action):
        self.t += 1
        self.x += self.pull * float(np.sum(action))
        reward, terminated, truncated = -self.x**2, False, False
        # more
        return self.seen(), reward, terminated, truncated, {}

def make(pull=1.0):
    return Line(pull)
"""


def environment(id: str, **options: Any) -> GymEnvironment:
    made: GymEnvironment = sources.make("gym", id=id, **{"workers": 0} | options).environment
    return made


def line(folder: Path, *changes: tuple[str, str], **options: Any) -> GymEnvironment:
    """The environment above, changed in places."""
    text = LINE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    (folder / "line.py").write_text(text)
    return environment(str(folder / "line.py"), **{"vary": ("pull 0.5 2",), "horizon": 5} | options)


def keys(count: int, label: str = "lanes") -> Tensor:
    return rng.fold(rng.key(0, label), torch.arange(count))


def actions(env: GymEnvironment, of: Tensor) -> Tensor:
    if env.facts.count:
        return rng.integers(of, env.facts.count)
    return rng.uniform(of, (env.facts.size,), -1.0, 1.0)


def stepped(env: GymEnvironment, task: State, state: State, steps: int) -> Step:
    """The last of some steps that do nothing."""
    for _ in range(steps):
        step = env.step(task, state, torch.zeros(len(state["lane"]), env.facts.size), state["lane"])
        state = step.state
    return step


def trajectory(env: GymEnvironment, of: Tensor, steps: int) -> list[Tensor]:
    """What is seen and rewarded in the tasks and episodes of these keys, beginning anew where one has ended."""
    task = env.task("train", of)
    state = env.reset(task, of)
    found = [env.observe(task, state)]
    for t in range(steps):
        own = rng.fold(of, t)
        step = env.step(task, state, actions(env, own), own)
        state = env.anew(task, step.state, step.ended, own)
        found += [env.observe(task, state), step.reward, step.ended.float()]
    return found


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

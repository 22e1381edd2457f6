"""Bandits: each arm pays by a rule of its own, and nothing else happens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.registry import sources, targets
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.optimal import bernoulli_optimal
from quickstudy.rl.source import EnvironmentSource
from quickstudy.targets import Target

Pays = Literal["bernoulli", "gaussian"]
_MOST = 1_000_000  # ways in which pulls can have gone, that are valued in seconds


@dataclass(frozen=True, kw_only=True)
class Bandit(Environment):
    """`arms` arms, one of which is pulled: an episode is one pull, and there is nothing to see.

    pays: 'bernoulli', 1 with a probability that is uniform in [0, 1] for each arm of a task, else 0 (Duan et al. 2016);
    or 'gaussian', a mean that is standard normal for each arm, with noise of this standard deviation.
    """

    arms: int = 5
    pays: Pays = "bernoulli"
    noise: float = 1.0
    horizon: int = 1

    @property
    def actions(self) -> Target:
        names = tuple(f"arm {i + 1}" for i in range(self.arms))
        made: Target = targets.make("actions", count=self.arms, names=names)
        return made

    @property
    def observation(self) -> tuple[int, ...]:
        return (1,)

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"arms": (0.0, 1.0)} if self.pays == "bernoulli" else {}

    def optimum(self, episodes: int) -> float | None:
        ways = math.comb(episodes + 2 * min(self.arms, episodes) - 1, episodes)  # how so many pulls can have gone
        if self.pays != "bernoulli" or ways > _MOST:
            return None
        return bernoulli_optimal(self.arms, episodes) / episodes

    def task(self, split: str, keys: Tensor) -> State:
        draw = rng.uniform if self.pays == "bernoulli" else rng.normal
        return {"arms": draw(keys, (self.arms,))}

    def reset(self, task: State, keys: Tensor) -> State:
        return {}

    def observe(self, task: State, state: State) -> Tensor:
        return torch.ones_like(task["arms"][:, :1])

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        arm = task["arms"].gather(1, action[:, None])[:, 0]
        if self.pays == "bernoulli":
            reward = (rng.uniform(keys) < arm).to(arm.dtype)
        else:
            reward = arm + self.noise * rng.normal(keys)
        return Step(state, reward, torch.ones_like(action, dtype=torch.bool), expected=arm)


@sources.register("bandit")
def bandit(*, arms: int = 5, pays: Pays = "bernoulli", noise: float = 1.0, past: bool = True) -> EnvironmentSource:
    """Environments: bandits, of which an episode is one pull.

    arms: of each task. pays: 1 or 0 with a probability for each arm (bernoulli), or a mean for each arm with noise
    (gaussian). noise: its standard deviation. past: the agent sees what it did last and what that brought, which one
    that remembers needs.
    """
    return EnvironmentSource.of(Bandit(arms=arms, pays=pays, noise=noise), past)

"""Markov decision processes of a few states, all of which are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.hints import Size
from quickstudy.registry import sources, targets
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.source import EnvironmentSource
from quickstudy.targets import Target

_MEANS, _CHANCES = range(2)


@dataclass(frozen=True, kw_only=True)
class TabularMDP(Environment):
    """`states` states and `choices` actions (Duan et al. 2016, section 3.2).

    Of each pair the mean reward is normal with mean 1 and variance 1, and where it leads to is drawn from a flat
    Dirichlet distribution. Rewards have variance 1 around their mean. Episodes begin in the first state, and end after
    `horizon` steps. The state is seen.
    """

    states: int = 10
    choices: int = 5
    horizon: int = 10

    @property
    def actions(self) -> Target:
        made: Target = targets.make("actions", count=self.choices)
        return made

    @property
    def observation(self) -> tuple[int, ...]:
        return (self.states,)

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"chances": (0.0, 1.0)}

    def task(self, split: str, keys: Tensor) -> State:
        pairs = (self.states, self.choices)
        means = 1 + rng.normal(rng.fold(keys, _MEANS), pairs)
        parts = -torch.log1p(-rng.uniform(rng.fold(keys, _CHANCES), (*pairs, self.states)))  # exponential
        return {"means": means, "chances": parts / parts.sum(-1, keepdim=True)}

    def reset(self, task: State, keys: Tensor) -> State:
        return {"state": torch.zeros_like(keys)}

    def observe(self, task: State, state: State) -> Tensor:
        return torch.nn.functional.one_hot(state["state"], self.states).to(task["means"].dtype)

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        lane = torch.arange(len(action), device=action.device)
        pair = lane, state["state"], action
        mean = task["means"][pair]
        reward = mean + rng.normal(rng.fold(keys, 0))
        below = task["chances"][pair].cumsum(-1) <= rng.uniform(rng.fold(keys, 1))[:, None]
        after = below.sum(-1).clamp(max=self.states - 1)
        return Step({"state": after}, reward, torch.zeros_like(action, dtype=torch.bool), expected=mean)


@sources.register("tabular-mdp")
def tabular_mdp(*, states: Size = 10, choices: Size = 5, horizon: Size = 10, past: bool = True) -> EnvironmentSource:
    """Environments: random decision processes of a few states (Duan et al. 2016).

    states: of each. choices: actions in each state. horizon: steps of an episode. past: the agent sees what it did last
    and what that brought, which one that remembers needs.
    """
    return EnvironmentSource.of(TabularMDP(states=states, choices=choices, horizon=horizon), past)

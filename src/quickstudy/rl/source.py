"""Environments as a task source: what an agent collects in them is the support set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Features, Params
from quickstudy.errors import ConfigError
from quickstudy.formats.drawing import Film
from quickstudy.registry import formats
from quickstudy.rl.agents.base import Agent, gathered
from quickstudy.rl.checking import theirs
from quickstudy.rl.environment import Environment
from quickstudy.rl.film import MOST, Filmed, Frame, gif, longest
from quickstudy.rl.fixed import Fixed
from quickstudy.rl.play import Memory, Stage
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.made_up import MadeUpSource

_TASK, _PLAY = range(2)
_UNSAID = Sampling().ways
_SAMPLING = Sampling(ways=1, shots=1, queries=1)


@dataclass(frozen=True, kw_only=True)
class EnvironmentSource(MadeUpSource):
    """Each task is an environment of a family; shots and queries count episodes in it.

    What is seen depends on who acts. `under` says who; else it is one that does anything with equal chance.
    """

    environment: Environment
    agent: Agent | None = None
    params: Params | None = None

    @classmethod
    def of(cls, environment: Environment, past: bool, unit: float = 1.0) -> EnvironmentSource:
        """past: steps tell what was done before, and what that brought, in a unit of rewards."""
        actions: Any = environment.actions
        format: Any = formats.make(
            "steps", observation=environment.observation, past=actions.coding if past else 0, unit=unit
        )
        return cls(environment=environment, spec=TaskSpec(format, actions), sampling=_SAMPLING)

    def alone(self, split: str, index: int) -> Self:
        """One task of this source, in which all episodes of every split are then played: learning from scratch.

        Episode `index` of `split` of this source, with its seed, is in the same task.

        >>> from quickstudy.registry import sources
        >>> family = sources.make("bandit", arms=3)
        >>> only_one = family.alone("test", 3)
        >>> one, same = (s.stage("test", torch.tensor([3])).task["arms"] for s in (family, only_one))
        >>> bool((one == same).all()), bool((only_one.stage("train", torch.arange(9)).task["arms"] == one).all())
        (True, True)
        """
        if index < 0:
            raise ConfigError(f"Tasks are counted from 0, found {index}. Give 0 or more.")
        task = self.stage(split, torch.tensor([index])).task
        given = {name: value[0] for name, value in task.items()}
        fixed = Fixed(horizon=self.environment.horizon, environment=self.environment, given=given)
        return replace(self, environment=fixed)

    def sampled(self, sampling: Sampling) -> Self:
        if sampling.ways not in (1, _UNSAID):
            raise ConfigError(
                f"A task that is an environment has no classes to count, found ways={sampling.ways}. Leave ways out."
            )
        if sampling.varies:
            raise ConfigError(
                "Tasks that are environments all have the same number of episodes. Leave out min_shots, min_ways and "
                "support."
            )
        actions: Any = self.spec.target
        spec = replace(self.spec, target=replace(actions, episodes=sampling.queries))
        return replace(self, sampling=replace(sampling, ways=1), spec=spec)

    @property
    def longest(self) -> int:
        return self.environment.horizon

    @property
    def repeats(self) -> bool:
        return True

    def under(self, learner: Any, params: Params) -> Self:
        if not isinstance(learner, Agent):
            raise ConfigError(
                f"{type(learner).__name__} does not act, and what is seen in environments depends on what is done. Use "
                "a learner for agents: 'rl2', 'maml-rl', 'ppo'."
            )
        return replace(self, agent=learner, params=params)

    def others(self) -> dict[str, Source]:
        if self.agent is None:
            return {}
        blank = self.agent.blank()
        without: dict[str, Source] = {} if blank is self.agent else {self.agent.forgets: replace(self, agent=blank)}
        return without | {self.spec.target.guess: replace(self, agent=None, params=None)}

    def computed(self) -> dict[str, float]:
        best = {"the best that forgets each episode": self.environment.optimum(1)}
        if self.agent is None or not self.agent.prepared:  # what is computed begins with nothing known
            best["the best there is"] = self.environment.optimum(self.sampling.queries)
        return {who: mean for who, mean in best.items() if mean is not None}

    def classes(self, split: str) -> list[str]:
        return self.environment.tasks(split)

    def stage(self, split: str, indices: Tensor) -> Stage:
        """The tasks of these episodes, to be acted in."""
        keys = self.keys(split, indices)
        with theirs(self.environment, "task"):
            task = self.environment.task(split, rng.fold(keys, _TASK))
        return Stage(self.environment, task, rng.fold(keys, _PLAY), self.spec)

    def episodes(self, split: str, indices: Tensor) -> Episode:
        stage = self.stage(split, indices)
        if self.agent is not None and self.params is not None:
            return self.agent.collected(self.params, stage, self.sampling)
        return anyhow(stage, self.sampling)

    def reels(self, split: str, index: int) -> dict[str, list[Frame]]:
        """What happens in the episodes of one task that count, a frame for each step: of the agent that it is `under`,
        and of it as it is when it makes nothing of what it has been through. ConfigError for what nothing draws."""
        if self.agent is None or self.params is None:
            raise ConfigError("Nobody acts here who could be filmed. Say who: source.under(agent, params).")
        blank, stage = self.agent.blank(), self.stage(split, torch.tensor([index]))
        agents = {} if blank is self.agent else {self.agent.forgets: blank}
        found = {}
        for name, agent in (agents | {self.agent.learns: self.agent}).items():
            film = Filmed(self.environment.drawable(), stage.task, stage.keys, stage.spec)
            agent.collected(self.params, film, self.sampling)
            found[name] = film.reels[-1]
        return found

    def filmed(self, split: str, index: int) -> Film | None:
        reels = self.reels(split, index)
        return Film(gif(reels), tuple(reels), longest(reels), min(longest(reels), MOST))


def anyhow(stage: Stage, sampling: Sampling) -> Episode:
    """What someone sees who does anything with equal chance."""
    outputs = stage.spec.outputs

    def policy(memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
        return memory, torch.zeros(len(first), outputs, device=first.device)

    support, query = (
        stage.play(policy, {}, count, label, anyhow=True)
        for label, count in enumerate((max(sampling.shots, 1), sampling.queries))
    )
    return Episode(gathered(stage, support), gathered(stage, query))

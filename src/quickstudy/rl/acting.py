"""Acting, one step after another, in an environment that is not ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, SupportsFloat

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Params, State
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.simulators.spaces import done


class Actor:
    """An agent in one environment. It remembers what it has done, so each has its own, and no two threads share one.

    learner: an `Agent` at the task's spec. params, state: φ and ψ. greedy: the likeliest actions, instead of actions
    drawn as in training and evaluation. seed: of what is drawn. space: the actions of an environment of Gymnasium, to
    whose bounds numbers are mapped and in which they are given; without it numbers are those of training, in [−1, 1].
    """

    def __init__(
        self, learner: Any, params: Params, state: State, greedy: bool = False, seed: int = 0, space: Any = None
    ) -> None:
        self._written = None if space is None else self._for(space, learner.actions)
        self.learner, self.params, self.state, self.greedy, self.seed = learner, params, state, greedy, seed
        self._device = next(iter(params.values())).device
        self.forget()

    def forget(self) -> None:
        """Go back to what was known when it was adapted."""
        self._memory = self.learner.memory(self.state, 1, self._device)
        nothing = torch.zeros(self.learner.actions.coding, device=self._device)
        self._done = self.state.get("done", nothing)[None]
        self._paid, self._begins = float(self.state.get("paid", 0.0)), True
        self._count = 0

    def act(self, observation: Any, reward: float | None = None, first: bool = False) -> Any:
        """What to do next: the number of an action, or a list of numbers.

        observation: what is seen, as in training. reward: what the action before has brought; an agent that remembers
        must be told, but for the first step. first: whether an episode begins; the first call always begins one.
        """
        x, target = self._seen(observation), self.learner.actions
        steps: Any = self.learner.spec.format
        if reward is not None and not (isinstance(reward, SupportsFloat) and math.isfinite(reward)):
            raise DataError(f"The reward must be a finite number, found {reward}. Mend the environment.")
        if reward is None and not self._begins and self.learner.needs_past:
            raise DataError("This agent learns from rewards. Say what the action before has brought: act(x, reward).")
        reward = self._paid if self._begins else 0.0 if reward is None else reward
        begins = torch.tensor([first or self._begins], device=self._device)
        paid, before = torch.tensor([reward], dtype=torch.float32, device=self._device), self._done
        if bool(begins) and not self.learner.across:
            paid, before = torch.zeros_like(paid), torch.zeros_like(before)
        with torch.no_grad():
            seen = steps.seen(x, before, paid, begins)
            self._memory, said = self.learner.act(self.params, self.state, self._memory, seen, begins)
            key = rng.fold(rng.key(self.seed, "act", device=self._device), self._count)[None]
            action = target.best(said) if self.greedy else target.sample(said, key)
        self._count += 1
        self._done, self._begins = target.code(action), False
        if self._written is not None:
            return self._written(action[0].cpu().numpy())
        return action.item() if target.count else action[0].clamp(target.low, target.high).tolist()

    @staticmethod
    def _for(space: Any, target: Any) -> Callable[[Any], Any]:
        """From actions to those of a space; ConfigError where they are others."""
        to = done(space, "The environment")
        if (to.count, to.size) != (target.count, target.size):
            raise ConfigError(
                f"The agent does {target}, and the environment takes {space}. Give the action_space of one like those "
                "of training."
            )
        return to.write

    def _seen(self, observation: Any) -> Tensor:
        try:
            x = torch.as_tensor(observation, dtype=torch.float32, device=self._device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"An observation is numbers, found {observation!r:.60}. Give what the agent sees."
            ) from error
        steps: Any = self.learner.spec.format
        if tuple(x.shape) != steps.observation:
            raise ShapeError(
                f"The agent sees {steps.observation} at each step, but the observation has the shape {tuple(x.shape)}. "
                "Give it what it was trained on."
            )
        if not bool(torch.isfinite(x).all()):
            raise DataError("The observation holds NaN or infinite values. Mend the environment.")
        return x[None]

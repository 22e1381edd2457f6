"""Acting, one step after another, in an environment that is not ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Params, State
from quickstudy.errors import DataError, ShapeError


class Actor:
    """An agent in one environment. It remembers what it has done, so each has its own, and no two threads share one.

    learner: an `Agent` at the task's spec. params, state: φ and ψ.
    """

    def __init__(self, learner: Any, params: Params, state: State) -> None:
        self.learner, self.params, self.state = learner, params, state
        self._device = next(iter(params.values())).device
        self.forget()

    def forget(self) -> None:
        """Go back to what was known when it was adapted."""
        self._memory = self.learner.memory(self.state, 1, self._device)
        self._done = torch.zeros(1, self.learner.actions.coding, device=self._device)
        self._begins = True

    def act(self, observation: Any, reward: float = 0.0, first: bool = False) -> Any:
        """What to do next: the number of an action, or a list of numbers.

        observation: what is seen, as in training. reward: what the action before has brought. first: whether an episode
        begins; the first call always begins one. The likeliest action is chosen.
        """
        x, target, format = self._seen(observation), self.learner.actions, self.learner.spec.format
        begins = torch.tensor([first or self._begins], device=self._device)
        paid = torch.tensor([reward], dtype=torch.float32, device=self._device)
        if not bool(torch.isfinite(paid)):
            raise DataError(f"The reward must be a finite number, found {reward}. Mend the environment.")
        steps: Any = format
        with torch.no_grad():
            seen = steps.seen(x, self._done, paid, begins)
            self._memory, said = self.learner.act(self.params, self.state, self._memory, seen, begins)
            action = target.best(said)
        self._done, self._begins = target.code(action), False
        return action.item() if target.count else action[0].clamp(target.low, target.high).tolist()

    def _seen(self, observation: Any) -> Tensor:
        x = torch.as_tensor(observation, dtype=torch.float32, device=self._device)
        steps: Any = self.learner.spec.format
        if tuple(x.shape) != steps.observation:
            raise ShapeError(
                f"The agent sees {steps.observation} at each step, but the observation has the shape {tuple(x.shape)}. "
                "Give it what it was trained on."
            )
        if not bool(torch.isfinite(x).all()):
            raise DataError("The observation holds NaN or infinite values. Mend the environment.")
        return x[None]

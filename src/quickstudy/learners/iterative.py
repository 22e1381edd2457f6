"""The contract of learners that adapt in steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from quickstudy.entries import PARAMETER, prefixed
from quickstudy.episode import Episode, Examples, Params, State
from quickstudy.errors import ConfigError
from quickstudy.learners.base import Learner
from quickstudy.learners.moments import Moments


@dataclass(frozen=True, kw_only=True)
class IterativeLearner(Learner):
    """A learner whose `adapt` is a loop: `start` from φ, then `steps` times `step`.

    eval_steps: the number of steps after training; None means `steps`.
    """

    steps: int
    eval_steps: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 0 or (self.eval_steps or 0) < 0:
            raise ConfigError(f"The number of inner steps cannot be negative, found {self.steps} / {self.eval_steps}.")

    @abstractmethod
    def start(self, params: Params, support: Examples) -> State:
        """ψ₀, before the first step."""

    @abstractmethod
    def step(self, params: Params, state: State, support: Examples) -> State:
        """ψ after one more step on the support set; same names, shapes and dtypes as `state`."""

    def moved(self, state: State) -> Params:
        """Entries of φ that the inner loop moves, by their name in φ, with their values in `state` (default: none)."""
        return {}

    def objective(self, params: Params, state: State, support: Examples) -> Tensor | None:
        """The scalar that the steps minimise in ψ, if it holds ψ near φ and so has one minimum near by; None if not."""
        return None

    def per_step(self, params: Params) -> dict[str, str]:
        """The entries of φ of which each inner step has a part of its own, each with how to do without it."""
        names = [
            prefix + PARAMETER + name
            for prefix, network in self.networks.items()
            for name in prefixed(prefix + PARAMETER, params)
            if network.per_step(name)
        ]
        return dict.fromkeys(names, "choose norm='batch', or replace the BatchNorm layers by nn.GroupNorm")

    def inside(self, params: Params) -> dict[str, str]:
        """The entries of φ of which all or a part acts only inside the inner loop, each with how to do without it."""
        return self.per_step(params)

    def adapt(self, params: Params, support: Examples) -> State:
        state = self.start(params, support)
        for _ in range(self.steps):
            state = self.step(params, state, support)
        return state

    def with_steps(self, steps: int) -> Self:
        """The same learner with another number of inner steps."""
        return replace(self, steps=steps, eval_steps=None)

    def evaluated(self) -> Self:
        return self if self.eval_steps is None else self.with_steps(self.eval_steps)

    def passes(self, params: Params, episode: Episode) -> Iterator[Moments]:
        state = self.start(params, episode.support)
        for index in range(max(network.steps for network in self.networks.values()) + 1):
            with self.recording() as moments:
                self.predict(params, state, episode.support.x)
                if index == self.steps:
                    self.predict(params, state, episode.query.x)
            yield moments
            state = self.step(params, state, episode.support)

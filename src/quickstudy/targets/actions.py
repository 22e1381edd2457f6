"""Actions: what an agent does at a step, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Examples
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.masked import one_hot
from quickstudy.registry import targets
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.answers.classes import ClassAnswer
from quickstudy.targets.answers.numbers import NumberAnswer
from quickstudy.targets.base import Target
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.metric import Metric
from quickstudy.targets.outcome import FACTS, Outcome
from quickstudy.targets.units import Units

_LEAST, _MOST = -5.0, 2.0  # of the logarithm of a standard deviation


@targets.register("actions")
@dataclass(frozen=True, kw_only=True)
class Actions(Target):
    """What to do at each step of an environment: one of `count` actions, or `size` numbers in [low, high].

    A prediction is a distribution over actions and the value of the step, in one tensor: logits, or means and the
    logarithms of standard deviations, and the value last. A label holds what was done and what came of it, see
    `Outcome`. The headline is the return of an episode: the sum of its rewards.

    episodes: of a trial, each of which has a figure of its own. names: of the actions, for people. unit: of rewards.
    rules: how many numbers labels hold of the rules of a task, for agents that are trained to guess them.

    >>> Actions(count=4).outputs, Actions(size=2).outputs
    (5, 5)
    """

    count: int = 0
    size: int = 0
    low: float = -1.0
    high: float = 1.0
    episodes: int = 1
    names: tuple[str, ...] = ()
    unit: str = ""
    rules: int = 0

    metric = Metric("return", "return", "return of an episode", higher_is_better=True)
    guess = "acting at random"
    remedy = "more varied tasks"

    def __post_init__(self) -> None:
        if (self.count > 1) == (self.size > 0):
            raise ConfigError(
                f"Actions are one of 2 or more (count), or 1 number or more (size), found count={self.count} and "
                f"size={self.size}. Give one of them."
            )
        if not -math.inf < self.low < self.high < math.inf or self.episodes < 1:
            raise ConfigError(
                f"Actions lie between two numbers, of 1 episode or more, found low={self.low}, high={self.high} and "
                f"episodes={self.episodes}. Correct them."
            )
        if self.rules < 0:
            raise ConfigError(f"Labels hold 0 or more numbers of a task's rules, found rules={self.rules}. Correct it.")
        if self.names and len(self.names) != (self.count or self.size):
            raise ConfigError(
                f"There are {self.count or self.size} actions and {len(self.names)} names for them. Name each, or none."
            )

    @property
    def taken(self) -> int:
        """How many numbers say what was done, or, of one of many actions, which: 1."""
        return self.size or 1

    @property
    def coding(self) -> int:
        """How many numbers a network is told an action in: one for each of many, or as many as it has."""
        return self.size or self.count

    @property
    def outputs(self) -> int:
        return (2 * self.size or self.count) + 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.taken + len(FACTS) + self.rules,)

    def __str__(self) -> str:
        return f"{self.count} actions" if self.count else f"actions of {self.size} numbers"

    def fits(self, other: Target) -> bool:
        if not isinstance(other, Actions):
            return False
        return (self.count, self.size, self.low, self.high) == (other.count, other.size, other.low, other.high)

    def require_actions(self, who: str, instead: str) -> Actions:
        return self

    # Labels

    def check(self, y: Tensor, name: str, lead: int) -> None:
        if tuple(y.shape[lead:]) != self.shape:
            raise ShapeError(
                f"{name} has the shape {tuple(y.shape[lead:])} after its first {lead} axes, expected {self.shape}: "
                f"{self.taken} for the action, then {', '.join(FACTS)}, and {self.rules} for the task's rules. "
                "Make it with target.label(…)."
            )
        if not y.is_floating_point():
            raise ShapeError(f"{name} says what came of actions and must be floating point, found {y.dtype}.")

    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        raise DataError(
            f"What an agent does has no labels: it learns from what comes of it, found {labels!r:.60}. Adapt it to an "
            "environment: run.adapt(environment)."
        )

    def label(
        self, action: Tensor, reward: Tensor, episode: Tensor, log_prob: Tensor, advantage: Tensor, value: Tensor,
        rules: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The label (*lead, *shape) of an `Outcome`, whose parts these are. Rules that are not known are 0."""
        done, dtype = action if self.size else action[..., None], reward.dtype
        facts = torch.stack([reward, *(one.to(dtype) for one in (episode, log_prob, advantage, value))], -1)
        if rules is None:
            rules = reward.new_zeros(self.rules)
        return torch.cat([done.to(dtype), facts, rules.to(dtype).expand(*reward.shape, self.rules)], -1)

    def outcome(self, y: Tensor) -> Outcome:
        """What labels y (*lead, *shape) say."""
        action, rules = y[..., : self.taken], y[..., self.taken + len(FACTS) :]
        facts = (y[..., self.taken + i] for i in range(len(FACTS)))
        return Outcome(action if self.size else action[..., 0].long(), *facts, rules)  # type: ignore[call-arg]

    def code(self, action: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Actions (*lead,) or (*lead, D) as networks are told them, (*lead, coding)."""
        if self.size:
            return action.to(dtype)
        return one_hot(action, self.count).to(dtype)

    def statistics(self, examples: Examples) -> dict[str, Any]:
        return {"reward": float(self.outcome(examples.y).reward[examples.mask].mean())}

    # Distributions over actions

    def _normal(self, prediction: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = prediction[..., : self.size], prediction[..., self.size : 2 * self.size]
        return mean, spread.clamp(_LEAST, _MOST)

    def value(self, prediction: Tensor) -> Tensor:
        """What the rest of the trial is expected to bring, (*lead,)."""
        return prediction[..., -1]

    def log_prob(self, prediction: Tensor, action: Tensor) -> Tensor:
        """The logarithm of the probability, or of its density, of actions: (*lead,)."""
        if self.size:
            mean, spread = self._normal(prediction)
            each = -0.5 * ((action - mean) * (-spread).exp()).square() - spread - 0.5 * math.log(2 * math.pi)
            return each.sum(-1)
        return self._logs(prediction).gather(-1, action[..., None])[..., 0]

    def entropy(self, prediction: Tensor) -> Tensor:
        """Of the distribution over actions, in nats, (*lead,)."""
        if self.size:
            return (self._normal(prediction)[1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
        logs = self._logs(prediction)
        return -(logs.exp() * logs).sum(-1)

    def _logs(self, prediction: Tensor) -> Tensor:
        """The logarithms of the probabilities of one of `count` actions, (*lead, count)."""
        logits = prediction[..., :-1]
        return logits - logits.logsumexp(-1, keepdim=True)  # log_softmax takes three times as long over few

    def sample(self, prediction: Tensor, keys: Tensor) -> Tensor:
        """Actions drawn by keys (*lead,), a pure function of both: (*lead,), or (*lead, D).

        Of one of many by the largest of logits with Gumbel noise. Numbers are not cut to [low, high]: environments do
        so, and probabilities stay what they are.
        """
        if self.size:
            mean, spread = self._normal(prediction)
            return mean + spread.exp() * rng.normal(keys, (self.size,))
        noise = -torch.log(-torch.log(rng.uniform(keys, (self.count,)).clamp(2.0**-25, 1 - 2.0**-24)))
        return (prediction[..., :-1] + noise).argmax(-1)

    def anything(self, keys: Tensor) -> Tensor:
        """Actions with equal chance for all, by keys (*lead,): (*lead,), or (*lead, D) in [low, high)."""
        if self.size:
            return rng.uniform(keys, (self.size,), self.low, self.high)
        return rng.integers(keys, self.count)

    def best(self, prediction: Tensor) -> Tensor:
        """The likeliest actions: (*lead,), or (*lead, D)."""
        return self._normal(prediction)[0] if self.size else prediction[..., :-1].argmax(-1)

    # What learning needs

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Less the advantage, times how much likelier the action has become than it was when it was taken: (n,).

        Where nothing has changed since, its gradient is the policy gradient (Williams 1992).
        """
        told = self.outcome(y)
        return -(self.log_prob(prediction, told.action) - told.log_prob).exp() * told.advantage

    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The reward of each step."""
        return self.outcome(y).reward

    def score(self, prediction: Tensor, examples: Examples) -> Tensor:
        """The return of an episode, the mean over the episodes of which there are steps."""
        returns, there = self._returns(examples)
        return returns.sum() / there.sum().clamp(min=1)

    def _returns(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """The sum of the rewards of each episode, (episodes,), and which have steps at all."""
        told = self.outcome(examples.y)
        own = one_hot(told.episode, self.episodes) & examples.mask[:, None]
        return (own * told.reward[:, None]).sum(0), own.any(0).to(told.reward.dtype)

    def metrics(self, prediction: Tensor, examples: Examples) -> dict[str, Tensor]:
        found = {self.metric.name: self.score(prediction, examples)}
        if self.episodes == 1:
            return found
        returns, there = self._returns(examples)
        each = torch.where(there > 0, returns, torch.nan)
        return found | {f"return in episode {i + 1}": each[i] for i in range(self.episodes)}

    def coded(self, examples: Examples, dtype: torch.dtype) -> Tensor:
        raise ConfigError(
            "Actions cannot be fitted in closed form: what is done decides what is seen. Use a learner for agents: "
            "'rl2', 'maml-rl', 'ppo'."
        )

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        """Every action alike, or the middle of what is allowed."""
        return query.y.new_zeros(len(query.y), self.outputs)

    # What people see

    def answer(self, said: Distribution, names: Sequence[str], units: Units | None = None) -> Answer:
        if self.size:
            mean, spread = self._normal(said.mean)
            return NumberAnswer(mean.clamp(self.low, self.high).cpu(), spread.exp().cpu(), self.unit)
        told = self.names or tuple(f"action {i + 1}" for i in range(self.count))
        return ClassAnswer(told, said.mean[..., :-1].softmax(-1).cpu())

    def lead(self, given: str, example: str, whole: str, each: bool) -> str:
        what = f"chooses one of {self.count} actions" if self.count else f"sets {self.size} numbers"
        return f"In an {whole} it has never been in, this agent {what} at every step."

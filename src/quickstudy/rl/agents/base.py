"""The contract of an agent: a learner that collects what it learns from."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from quickstudy import rng
from quickstudy.episode import Episode, Examples, Features, Params, State, map_episode
from quickstudy.errors import ConfigError
from quickstudy.learners.base import Learner
from quickstudy.registry import Part, sources
from quickstudy.rl.acting import Actor
from quickstudy.rl.agents.surrogates import per_row
from quickstudy.rl.checking import require_rules, theirs
from quickstudy.rl.environment import Environment
from quickstudy.rl.play import Memory, Played, Stage
from quickstudy.rl.returns import Total, advantages, followed, standardised
from quickstudy.tasks.base import Sampling


@dataclass(frozen=True, kw_only=True)
class Agent(Learner):
    """A learner that acts. What it collects of a task is outside of every gradient.

    discount: γ, what a reward a step later is worth. trace: λ of generalised advantage estimates. unit: in which
    it tells values, or advantages: about how much what is still to come differs from step to step.
    """

    discount: float = 0.99
    trace: float = 0.95
    unit: float = 1.0
    forgets: ClassVar[str]
    """What `blank` is called."""
    learns: ClassVar[str] = "as it learns"
    """What it is called beside that."""
    prepared: ClassVar[bool]
    """Whether it has been through other episodes of a task before those that count."""

    def __post_init__(self) -> None:
        self.spec.target.require_actions(type(self).__name__, "Use a learner that does not act: 'maml', 'protonet'.")
        if not 0 <= self.discount <= 1 or not 0 <= self.trace <= 1:
            raise ConfigError(
                f"discount and trace are shares, found {self.discount} and {self.trace}. Give numbers from 0 to 1."
            )
        for network in self.networks.values():
            if any(isinstance(layer, _BatchNorm) for layer in network.module.modules()):
                raise ConfigError(
                    "An agent sees one step at a time when it acts and many when it learns, so BatchNorm layers would "
                    "make another policy of it. Use others, such as GroupNorm (--model.norm-layer group)."
                )
        if not 0 < self.unit < math.inf:
            raise ConfigError(f"The unit of values must be a positive number, found {self.unit}.")

    @property
    def actions(self) -> Any:
        """The target, which knows distributions over actions."""
        return self.spec.target.require_actions(type(self).__name__, "")

    @property
    def exchangeable(self) -> bool:
        return False

    @property
    def ordered(self) -> bool:
        return True

    @property
    def needs_past(self) -> bool:
        """Whether it makes use of what steps tell of the one before."""
        return bool(getattr(self.spec.format, "past", 0))

    @property
    def across(self) -> bool:
        """Whether what it remembers goes on from one episode of a trial to the next, so that an episode's first step
        tells of the last one before."""
        return False

    @abstractmethod
    def blank(self) -> Self:
        """The same agent as it is when it makes nothing of what it has been through in a task."""

    @abstractmethod
    def collected(self, params: Params, stage: Stage, sampling: Sampling) -> Episode:
        """What it learns from in the tasks of a stage, and what it is judged by: leaves with a task axis."""

    def levelled(self, episodes: Episode, total: Total) -> Episode:
        """Advantages of the query sets in units of all tasks."""
        return episodes._replace(query=with_standard_advantages(self.actions, episodes.query, total))

    def met(self, params: Params, place: Any, episodes: int, seed: int) -> Examples:
        """The steps of so many episodes in an environment, acting with φ as it learns.

        place: an `Environment`, a task source of such, as a part or by its name, an id of Gymnasium, or a Python file.
        """
        place = _environment(place)
        self._require_fitting(place)
        device = next(iter(params.values())).device
        keys = rng.fold(rng.key(seed, "adapt", device=device), torch.zeros(1, dtype=torch.int64, device=device))
        with theirs(place, "task"):
            task = place.task("test", keys)
        stage = Stage(place, task, keys, self.spec)
        return map_episode(lambda t: t[0], self.lived(params, stage, Sampling(1, episodes, 1))).support

    def _require_fitting(self, place: Environment) -> None:
        """ConfigError, naming both, for an environment that shows or takes other things than those of training."""
        steps: Any = self.spec.format
        if place.observation != steps.observation or not self.actions.fits(place.actions):
            raise ConfigError(
                f"The agent was trained where it sees {steps.observation} and does {self.actions}, but this "
                f"environment shows {place.observation} and takes {place.actions}. Give one like those of training, or "
                "train anew."
            )

    @abstractmethod
    def lived(self, params: Params, stage: Stage, sampling: Sampling) -> Episode:
        """As `collected`, but all that it has been through is in the support set."""

    def acting(self, params: Params, state: State, **options: Any) -> Any:
        return Actor(self, params, state, **options)

    @abstractmethod
    def memory(self, state: State, count: int, device: torch.device) -> Memory:
        """What is remembered before a step, in `count` lanes of the task known as `state`; {} is one that is new."""

    @abstractmethod
    def act(self, params: Params, state: State, memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
        """The memory after one step in each lane, and a prediction (n, outputs). x: features (n, …). first: (n,) bool,
        where an episode begins. state: ψ, of all lanes alike."""


def _environment(place: Any) -> Environment:
    if isinstance(place, str | Path):
        name = str(place)
        place = sources.part(name) if name in sources else sources.part("gym", id=name, alone=True)
    if isinstance(place, Part):
        place = place.build()
    if not isinstance(place, Environment):
        place = getattr(place, "environment", place)
    if not isinstance(place, Environment):
        raise ConfigError(
            f"An agent is adapted to an environment, found {place!r:.60}. Give a quickstudy.rl.Environment, an id of "
            "Gymnasium or a Python file with a function make(): run.adapt('CartPole-v1')."
        )
    return place


def gathered(
    stage: Stage, played: Played, discount: float = 1.0, trace: float = 1.0, unit: float = 1.0, across: bool = False,
    rules: bool = False,
) -> Examples:  # fmt: skip
    """What was played as examples, with advantages by generalised estimates; leaves (n, T, …).

    unit: what predictions tell values in. across: episodes of a trial are one for the agent, which remembers: values
    and advantages look beyond their ends, and nothing follows on the last alone. If not, an episode's end is the end,
    and where its time was up, what would have followed counts by its value. Advantages are not standardised. rules:
    labels hold what the environment tells of its tasks, for training alone.
    """
    actions = stage.spec.target.require_actions("Collecting", "")
    values = unit * actions.value(played.prediction)
    goes_on, after = followed(played.mask, values)
    if not across:
        over = played.ended | played.timed
        goes_on, after = goes_on & ~over, torch.where(over, unit * played.after, after)
    advantage = advantages(played.worth, values, after, goes_on, discount, trace)
    chance = actions.log_prob(played.prediction, played.action)
    facts = chance, advantage, (advantage + values) / unit, _rules(stage, actions) if rules else None
    y = actions.label(played.action, played.reward, played.episode, *facts)
    return Examples(played.x, torch.where(played.mask[..., None], y, 0.0), played.mask)


def _rules(stage: Stage, actions: Any) -> Tensor | None:
    """What the environment tells of its tasks, (n, 1, rules); None where another one than that of training does not."""
    place: Any = stage.environment
    if not actions.rules or place.actions.rules != actions.rules:
        return None
    with theirs(place, "rules"):
        found = place.rules(stage.task)
    require_rules(place, found, len(stage.keys), actions.rules)
    return found[:, None]  # type: ignore[no-any-return]


def with_standard_advantages(target: Any, examples: Examples, total: Total) -> Examples:
    """The same examples with advantages of mean 0 and deviation 1, over all tasks together."""
    told = target.outcome(examples.y)
    advantage = standardised(told.advantage, examples.mask, total)
    return examples._replace(y=target.label(*told._replace(advantage=advantage)))


def clipped_loss(agent: Any, target: Any, prediction: Tensor, told: Any, mask: Tensor) -> Tensor:
    """The loss of proximal policy optimisation over real steps, per row (see `per_row`): a scalar.

    −min(r A, clip(r, 1 − ε, 1 + ε) A) for the ratio r of the action's probability to that when it was taken, plus
    value · ½ (V − return)² − entropy · H. Tasks whose episodes end early weigh no more for that.
    """
    ratio = (target.log_prob(prediction, told.action) - told.log_prob).exp()
    gain = torch.minimum(ratio * told.advantage, ratio.clamp(1 - agent.clip, 1 + agent.clip) * told.advantage)
    miss = 0.5 * (target.value(prediction) - told.value).square()
    return per_row(agent.value * miss - gain - agent.entropy * target.entropy(prediction), mask)

"""Agents trained by proximal policy optimisation on what they have played."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.episode import Episode, Examples, Features, Params, State
from quickstudy.learners.frozen import bound
from quickstudy.learners.network import Network
from quickstudy.registry import learners
from quickstudy.rl.agents.base import Agent, clipped_loss, gathered
from quickstudy.rl.agents.support import nothing_of
from quickstudy.rl.play import Memory, Stage
from quickstudy.rl.returns import Total, centred
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling

_FITTING = 16.0  # how many times a unit may exceed, or fall short of, what values differ by
_log = logging.getLogger("quickstudy")


@dataclass(frozen=True, kw_only=True)
class ProximalAgent(Agent):
    """Base of agents that act through whole trials and are trained by proximal policy optimisation (Schulman et al.
    2017).

    clip: how much likelier or less likely an action may become before nothing more is gained. entropy, value: weights
    of these terms.
    """

    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    _warned: set[float] = field(default_factory=set, init=False, repr=False, compare=False)

    prepared = False

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator)

    def _whole(self, params: Params, stage: Stage, episodes: int, rules: bool = False) -> Examples:
        """The steps of whole trials. rules: see `gathered`."""
        acting = bound(self, params.values())

        def policy(memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
            return acting.act(params, {}, memory, x, first)

        memory = self.memory({}, len(stage.keys), stage.keys.device)
        played = stage.play(policy, memory, episodes, apart=not self.across, beyond=not self.across)
        return gathered(stage, played, self.discount, self.trace, self.unit, self.across, rules)

    def lived(self, params: Params, stage: Stage, sampling: Sampling) -> Episode:
        whole = self._whole(params, stage, sampling.shots)
        return Episode(whole, whole)

    def collected(self, params: Params, stage: Stage, sampling: Sampling) -> Episode:
        whole = self._whole(params, stage, sampling.queries, rules=True)
        return Episode(nothing_of(whole), whole)

    def levelled(self, episodes: Episode, total: Total) -> Episode:
        told = self.actions.outcome(episodes.query.y)
        spread = float(centred(told.value, episodes.query.mask, total)[1])
        if 0 < spread < 1 / _FITTING or spread > _FITTING:
            self._say_unit(float(f"{self.unit * spread:.0e}"))
        return super().levelled(episodes, total)

    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        target, prediction = self.actions, self.predict(params, state, query.x)
        told = target.outcome(query.y)
        return clipped_loss(self, target, prediction, told, query.mask), target.score(prediction, query)

    def _say_unit(self, spread: float) -> None:
        """Once for each `spread`, what values differ by, to one digit."""
        if spread not in self._warned:
            self._warned.add(spread)
            _log.warning(
                f"Values are learned in units of {self.unit:g}, but what is still to come differs from step to step by "
                f"about {spread:g}: in such units values, or else actions, are hardly learned. Set the learner's unit "
                f"to about that (unit={spread:g}, --learner.unit {spread:g})."
            )


@dataclass(frozen=True, kw_only=True)
class ReactiveAgent(ProximalAgent):
    """φ is one policy for all tasks, with a value of each step, and nothing is learned of a single one: ψ is empty.

    What steps tell of the one before is kept from the network, since it would be a memory.
    """

    forgets = learns = "as it acts"

    @property
    def needs_past(self) -> bool:
        return False

    def blank(self) -> ReactiveAgent:
        return self

    def memory(self, state: State, count: int, device: torch.device) -> Memory:
        return {}

    def act(self, params: Params, state: State, memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
        return memory, self.predict(params, state, x)

    def adapt(self, params: Params, support: Examples) -> State:
        return {}

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        steps: Any = self.spec.format
        return self.network(params, steps.without_past(x))


@learners.register("ppo", head=True, acts=True)
def ppo(
    module: nn.Module,
    spec: TaskSpec,
    *,
    discount: float = 0.99,
    trace: float = 0.95,
    unit: float = 1.0,
    clip: float = 0.2,
    entropy: float = 0.01,
    value: float = 0.5,
) -> ReactiveAgent:
    """Proximal policy optimisation (Schulman et al. 2017): one policy without memory for all tasks.

    Trained over a family it is the best that can be done without learning anything of a task; trained in one task it is
    learning from scratch. module: a policy that ends in `spec.outputs` outputs, the last of which is the value of a
    step. discount: γ. trace: λ of advantage estimates. unit: about how much what is still to come differs from step to
    step, in which values are learned: in a smaller one their error outweighs what is to be gained, in a larger one they
    are hardly learned. clip, entropy, value: of the ratio of probabilities, and the
    weights of the entropy and of the values' error.
    """
    return ReactiveAgent(
        network=Network(module),
        spec=spec,
        discount=discount,
        trace=trace,
        unit=unit,
        clip=clip,
        entropy=entropy,
        value=value,
    )

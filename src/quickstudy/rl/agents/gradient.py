"""Agents that adapt by policy gradients: MAML for policies, and what it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from quickstudy.episode import Episode, Examples, Features, Params, State, leaves, map_features
from quickstudy.errors import ConfigError
from quickstudy.hints import Steps
from quickstudy.inner import RULES, SGD, Partition, Rates
from quickstudy.learners.gradient import GradientLearner
from quickstudy.learners.network import Network
from quickstudy.masked import masked_mean
from quickstudy.registry import learners
from quickstudy.rl.agents.base import Agent, clipped_loss
from quickstudy.rl.agents.support import by_steps, credited, joined, nothing_of, part_of
from quickstudy.rl.agents.surrogates import SURROGATES, divergence, per_row
from quickstudy.rl.baselines import linear_values
from quickstudy.rl.play import Memory, Played, Stage
from quickstudy.rl.returns import Total, advantages, discounted, followed
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling

Surrogate = Literal["lvc", "dice"]


@dataclass(frozen=True, kw_only=True)
class PolicyGradientAgent(GradientLearner, Agent):
    """ψ are a policy's parameters after inner steps along the policy gradient, each on episodes that were played with
    the parameters before it (Finn et al. 2017, section 4.3).

    The support set holds the steps of all inner steps' episodes, one inner step's after the other's. Values are a
    regression within each task. All surrogates have the policy gradient as their first derivative. surrogate: 'dice'
    has the right second derivative in the mean, too (Foerster et al. 2018; with advantages, Farquhar et al. 2019), and
    'lvc' leaves out what actions and those before them contribute together, which varies most (Rothfuss et al. 2019).

    Advantages of inner steps are in units of `unit` and not standardised, so that steps become shorter where there is
    less to gain. An episode that ends early counts as one that goes on and is paid nothing: losses are sums over real
    steps, divided by all rows. clip: of the outer loss, as in proximal policy optimisation. kl: η, by which the mean
    over inner steps of KL(the policy that played their episodes ‖ that policy now) counts in the outer loss (Rothfuss
    et al. 2019), estimated from the actions that were taken. explore: weight of the term that credits the first
    episodes with what was gained after the last step (Stadie et al. 2018). entropy: weight of it in the outer loss.
    each: it plays with a φ of its own in each task, leaves (T, …).
    """

    surrogate: Surrogate = "lvc"
    clip: float = 0.2
    kl: float = 0.0
    explore: float = 0.0
    entropy: float = 0.0
    value: float = 0.0
    each: bool = False

    def __post_init__(self) -> None:
        Agent.__post_init__(self)
        GradientLearner.__post_init__(self)
        if not self.kl >= 0:
            raise ConfigError(f"The weight of the divergence cannot be negative, found kl={self.kl}. Give 0 or more.")

    forgets, prepared = "not adapted", True

    def blank(self) -> PolicyGradientAgent:
        return self.with_steps(0)

    # Collecting

    def _on_the_way(self, params: Params, stage: Stage, sampling: Sampling) -> tuple[list[Examples], State]:
        """What is played for each inner step, and ψ after the last."""
        none = torch.empty(0, dtype=torch.bool, device=stage.keys.device)
        nothing = Examples(torch.empty(0), torch.empty(0), none)
        state = self._in_tasks(lambda params, _: self.start(params, nothing), params, stage.keys)
        parts = []
        for step in range(self.steps):
            parts.append(self._played(params, state, stage.lanes(sampling.shots), sampling.shots, step))
            with torch.no_grad():
                state = self._in_tasks(self.one_step, params, state, parts[-1])
        return parts, state

    def collected(self, params: Params, stage: Stage, sampling: Sampling) -> Episode:
        parts, state = self._on_the_way(params, stage, sampling)
        query = self._played(params, state, stage.lanes(sampling.queries), sampling.queries, self.steps)
        return Episode(self._support(parts, query, sampling), query)

    def levelled(self, episodes: Episode, total: Total) -> Episode:
        support, query = super().levelled(episodes, total)
        return Episode(credited(self.actions, support, query, total) if self.steps else support, query)

    def lived(self, params: Params, stage: Stage, sampling: Sampling) -> Episode:
        if not self.steps:
            return self.collected(params, stage, sampling)
        parts, _ = self._on_the_way(params, stage, sampling)
        return Episode(self._support(parts, parts[-1], sampling), parts[-1])

    def _support(self, parts: list[Examples], query: Examples, sampling: Sampling) -> Examples:
        return joined(self.actions, parts, sampling.shots) if parts else nothing_of(query)

    def _in_tasks(self, function: Callable[..., Any], params: Params, *of_tasks: Any) -> Any:
        """`function`(φ, *of one task) of all tasks."""
        return torch.func.vmap(function, in_dims=(0 if self.each else None, *(0 for _ in of_tasks)))(params, *of_tasks)

    def _played(self, params: Params, state: State, wide: Stage, lanes: int, label: int) -> Examples:
        """An episode in each lane of every task, (T, lanes · horizon, …)."""

        def policy(memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
            split = map_features(lambda t: t.view(-1, lanes, *t.shape[1:]), x)
            said: Tensor = self._in_tasks(self.predict, params, state, split)
            return memory, said.flatten(0, 1)

        return self._examples(wide.play(policy, {}, 1, label, beyond=False), lanes)

    def _examples(self, played: Played, lanes: int) -> Examples:
        """What was played, with advantages over a regression of returns; the end of an episode is the end."""
        actions = self.actions

        def by_task(t: Tensor) -> Tensor:
            return t.view(-1, lanes, *t.shape[1:])

        goes_on, _ = followed(played.mask, played.reward)
        returns = by_task(discounted(played.reward, goes_on, self.discount))
        mask, reward = by_task(played.mask), by_task(played.reward)
        values = linear_values(by_task(leaves(played.x)[0]).flatten(3), returns, mask).flatten(0, 1)
        _, after = followed(played.mask, values)
        advantage = by_task(advantages(played.reward, values, after, goes_on, self.discount, self.trace))
        chance = by_task(actions.log_prob(played.prediction, played.action))
        number = torch.arange(lanes, device=reward.device)[:, None].expand_as(reward)
        y = actions.label(by_task(played.action), reward, number, chance, advantage / self.unit, returns)
        x = map_features(lambda t: by_task(t).flatten(1, 2), played.x)
        return Examples(x, torch.where(mask[..., None], y, 0.0).flatten(1, 2), mask.flatten(1, 2))

    def memory(self, state: State, count: int, device: torch.device) -> Memory:
        return {}

    def act(self, params: Params, state: State, memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
        return memory, self.predict(params, state, x)

    # Being judged by what was paid alone

    def apart(self) -> PolicyGradientAgent:
        for name in ("kl", "explore", "entropy"):
            if getattr(self, name):
                raise ConfigError(
                    f"An estimator that compares what was paid knows nothing of the term {name!r} of the outer loss, "
                    f"whose weight is {getattr(self, name)}. Leave it out, or use 'unrolled'."
                )
        return replace(self, each=True)

    def paid(self, query: Examples) -> tuple[Tensor, Tensor]:
        metric = self.actions.score(query.y, query)  # of what was done, whatever is predicted
        return -metric / self.unit, metric

    # Learning

    def one_step(self, params: Params, state: State, examples: Examples) -> State:
        """ψ after one more step, on the episodes that were played for it."""
        return GradientLearner.step(self, params, state, examples)

    def step(self, params: Params, state: State, support: Examples) -> State:
        return self.one_step(params, state, part_of(support, self.steps, state["count"]))

    def adapt(self, params: Params, support: Examples) -> State:
        return super().adapt(params, self._divided(support))

    def _divided(self, support: Examples) -> Examples:
        return by_steps(self.actions, support, self.steps) if self.steps else support

    def inner_loss(self, params: Params, task: Params, support: Examples, count: Tensor) -> Tensor:
        return SURROGATES[self.surrogate](self.actions, self.network(params, support.x, task, count), support)

    @property
    def beyond(self) -> bool:
        return self.steps > 0 and (self.explore > 0 or self.kl > 0)

    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        target, prediction = self.actions, self.predict(params, state, query.x)
        loss = clipped_loss(self, target, prediction, target.outcome(query.y), query.mask)
        return loss, target.score(prediction, query)

    def score(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        if not self.beyond:
            return super().score(params, episode)
        support = self._divided(episode.support)
        state, further = self.start(params, support), []
        for step in range(self.steps):
            part = part_of(support, self.steps, state["count"])
            further.append(self._before_step(params, state, part, first=step == 0))
            state = self.one_step(params, state, part)
        loss, score = self.judge(params, state, episode.query)
        return loss + torch.stack(further).sum(), score

    def _before_step(self, params: Params, state: State, part: Examples, first: bool) -> Tensor:
        """What the policy before an inner step adds to the loss, by the episodes that were played with it: a scalar."""
        told = self.actions.outcome(part.y)
        change = self.actions.log_prob(self.predict(params, state, part.x), told.action) - told.log_prob
        away = self.kl / self.steps * masked_mean(divergence(change), part.mask)
        return away - self.explore * per_row(change.exp() * told.value, part.mask) if first else away


@learners.register("maml-rl", head=True, acts=True)
def maml_rl(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.1,
    steps: Steps = 1,
    eval_steps: Steps | None = None,
    rule: str = "sgd",
    lr_decay: float = 1.0,
    learn_rates: bool = False,
    rates: Rates = "shared",
    inner: tuple[str, ...] = (),
    discount: float = 0.99,
    trace: float = 1.0,
    surrogate: Surrogate = "lvc",
    unit: float = 1.0,
    clip: float = 0.2,
    kl: float = 0.0,
    entropy: float = 0.0,
    explore: float = 0.0,
) -> PolicyGradientAgent:
    """MAML for policies (Finn et al. 2017), of the second order.

    With --reuse above 1 and `kl` it is ProMP (Rothfuss et al. 2019); with `explore` it is E-MAML (Stadie et al. 2018).
    module: a policy that ends in `spec.outputs` outputs. Shots are the episodes that an inner step sees.

    lr, steps: rate and number of inner steps. eval_steps: steps after training; as many as `steps` if not given. rule:
    how the inner loop moves. lr_decay: of 'sgd', what the rate is multiplied by after each step. learn_rates:
    meta-learn the rates. rates: one 'shared' by all parameters, one for each 'tensor' or each 'element' (Li et al.
    2017). inner: patterns of the parameters that it moves; all if not given. discount: γ. trace: λ of
    advantage estimates. surrogate: what is differentiated twice, see `PolicyGradientAgent`. unit: what advantages are
    told in within the inner loop, about what an episode brings. clip: of the ratio in the outer loss. kl: weight there
    of how far the policies before each inner step have moved from those that played its episodes, as they do where
    --reuse is above 1. entropy: its weight there. explore: weight of what the first episodes are credited with for what
    is gained after adapting.
    """
    if lr_decay != 1 and rule != "sgd":
        raise ConfigError(f"lr_decay is of the rule 'sgd' alone, found {rule!r}. Leave it out, or take 'sgd'.")
    moves = RULES[rule](lr=lr, rates=rates) if lr_decay == 1 else SGD(lr=lr, rates=rates, lr_decay=lr_decay)
    return PolicyGradientAgent(
        network=Network(module, "batch", steps, inner_loop=True),
        spec=spec,
        rule=moves,
        learn_rates=learn_rates or moves.learned,
        partition=Partition(tuple(inner)) if inner else Partition(),
        steps=steps,
        eval_steps=eval_steps,
        discount=discount,
        trace=trace,
        surrogate=surrogate,
        unit=unit,
        clip=clip,
        kl=kl,
        entropy=entropy,
        explore=explore,
    )

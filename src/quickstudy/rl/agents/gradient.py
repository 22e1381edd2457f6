"""Agents that adapt by policy gradients: MAML for policies, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from quickstudy.episode import Episode, Examples, Features, Params, State, leaves, map_features
from quickstudy.hints import Steps
from quickstudy.inner import RULES, Partition
from quickstudy.learners.gradient import GradientLearner
from quickstudy.learners.network import Network
from quickstudy.masked import masked_mean
from quickstudy.registry import learners
from quickstudy.rl.agents.base import Agent, clipped_loss, with_standard_advantages
from quickstudy.rl.baselines import linear_values
from quickstudy.rl.play import Memory, Played, Stage
from quickstudy.rl.returns import advantages, discounted, followed
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
    less to gain. clip: of the outer loss, as in proximal policy
    optimisation. explore: weight of the term that credits the first
    episodes with what was gained after the last step (Stadie et al. 2018). entropy: weight of it in the outer loss.
    """

    surrogate: Surrogate = "lvc"
    clip: float = 0.2
    explore: float = 0.0
    entropy: float = 0.0
    value: float = 0.0

    def __post_init__(self) -> None:
        Agent.__post_init__(self)
        GradientLearner.__post_init__(self)

    forgets, prepared = "not adapted", True

    def blank(self) -> PolicyGradientAgent:
        return self.with_steps(0)

    # Collecting

    def _on_the_way(self, params: Params, stage: Stage, sampling: Sampling) -> tuple[list[Examples], State]:
        """What is played for each inner step, and ψ after the last."""
        count, device = len(stage.keys), stage.keys.device
        nothing = Examples(torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.bool, device=device))
        state = {name: value.expand(count, *value.shape) for name, value in self.start(params, nothing).items()}
        parts = []
        for step in range(self.steps):
            parts.append(self._played(params, state, stage.lanes(sampling.shots), sampling.shots, step))
            with torch.no_grad():
                state = torch.func.vmap(partial(self.one_step, params))(state, parts[-1])
        return parts, state

    def collected(self, params: Params, stage: Stage, sampling: Sampling) -> Episode:
        parts, state = self._on_the_way(params, stage, sampling)
        query = self._played(params, state, stage.lanes(sampling.queries), sampling.queries, self.steps)
        return Episode(self._credited(parts, query), with_standard_advantages(self.actions, query))

    def lived(self, params: Params, stage: Stage, sampling: Sampling) -> Episode:
        if not self.steps:
            return self.collected(params, stage, sampling)
        parts, _ = self._on_the_way(params, stage, sampling)
        return Episode(self._credited(parts, parts[-1]), parts[-1])

    def _played(self, params: Params, state: State, wide: Stage, lanes: int, label: int) -> Examples:
        """An episode in each lane of every task, (T, lanes · horizon, …)."""

        def policy(memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
            split = map_features(lambda t: t.view(-1, lanes, *t.shape[1:]), x)
            said: Tensor = torch.func.vmap(partial(self.predict, params))(state, split)
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

    def _credited(self, parts: list[Examples], query: Examples) -> Examples:
        """All inner steps' examples, which know how well their task was done in the end: by the value of their label,
        the return after the last step in deviations from the mean over tasks."""
        target = self.actions
        if not parts:
            return Examples(
                map_features(lambda t: t[:, :1], query.x), query.y[:, :1], torch.zeros_like(query.mask[:, :1])
            )
        whole = Examples(
            map_features(lambda *t: torch.cat(t, 1), *(part.x for part in parts)),
            torch.cat([part.y for part in parts], 1), torch.cat([part.mask for part in parts], 1),
        )  # fmt: skip
        gained = target.outcome(query.y).reward.sum(1)
        credit = (gained - gained.mean()) / (gained.std(correction=0) + 1e-8)
        told = target.outcome(whole.y)
        return whole._replace(y=target.label(*told._replace(value=credit[:, None].expand_as(told.value))))

    def memory(self, state: State, count: int, device: torch.device) -> Memory:
        return {}

    def act(self, params: Params, state: State, memory: Memory, x: Features, first: Tensor) -> tuple[Memory, Tensor]:
        return memory, self.predict(params, state, x)

    # Learning

    def one_step(self, params: Params, state: State, examples: Examples) -> State:
        """ψ after one more step, on the episodes that were played for it."""
        return GradientLearner.step(self, params, state, examples)

    def step(self, params: Params, state: State, support: Examples) -> State:
        def own(t: Tensor) -> Tensor:
            parts = t.view(self.steps, -1, *t.shape[1:])
            return parts.index_select(0, state["count"].clamp(max=self.steps - 1).view(1))[0]

        return self.one_step(params, state, Examples(map_features(own, support.x), own(support.y), own(support.mask)))

    def inner_loss(self, params: Params, task: Params, support: Examples, count: Tensor) -> Tensor:
        prediction = self.network(params, support.x, task, count)
        if self.surrogate == "lvc":
            return self.actions.loss(prediction, support)  # type: ignore[no-any-return]
        return dice(self.actions, prediction, support)

    @property
    def beyond(self) -> bool:
        return self.explore > 0

    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        target, prediction = self.actions, self.predict(params, state, query.x)
        loss = clipped_loss(self, target, prediction, target.outcome(query.y), query.mask)
        return loss, target.score(prediction, query)

    def score(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        loss, score = super().score(params, episode)
        if not self.explore or not self.steps:
            return loss, score
        target, support = self.actions, episode.support
        count = len(support.mask) // self.steps  # the first inner step's episodes are φ's own
        told = target.outcome(support.y[:count])
        first = self.predict(params, self.start(params, support), map_features(lambda t: t[:count], support.x))
        ratio = (target.log_prob(first, told.action) - told.log_prob).exp()
        return loss - self.explore * masked_mean(ratio * told.value, support.mask[:count]), score


def dice(target: Any, prediction: Tensor, examples: Examples) -> Tensor:
    """Less the mean of (□ of a step and those before it in its episode − □ of those before it) times its advantage,
    where □ = exp(Σ log π − its value): 0, with derivatives of any order that estimate those of the expected return."""
    told = target.outcome(examples.y)
    chance = torch.where(examples.mask, target.log_prob(prediction, told.action) - told.log_prob, 0.0)
    within = (told.episode[:, None] == told.episode[None]).to(chance.dtype).tril()
    until = within @ chance
    return -masked_mean((until.exp() - (until - chance).exp()) * told.advantage, examples.mask)


@learners.register("maml-rl", head=True, acts=True)
def maml_rl(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.1,
    steps: Steps = 1,
    eval_steps: Steps | None = None,
    rule: str = "sgd",
    learn_rates: bool = False,
    inner: tuple[str, ...] = (),
    discount: float = 0.99,
    trace: float = 1.0,
    surrogate: Surrogate = "lvc",
    unit: float = 1.0,
    clip: float = 0.2,
    entropy: float = 0.0,
    explore: float = 0.0,
) -> PolicyGradientAgent:
    """MAML for policies (Finn et al. 2017), of the second order.

    With --reuse above 1 it is ProMP but for the penalty on the inner steps; with `explore` it is E-MAML (Stadie et al.
    2018). module: a policy that ends in `spec.outputs` outputs. Shots are the episodes that an inner step sees.

    lr, steps: rate and number of inner steps. eval_steps: steps after training; as many as `steps` if not given. rule:
    how the inner loop moves. learn_rates: meta-learn the rates. inner: patterns of the parameters that it moves; all if
    not given. discount: γ. trace: λ of advantage estimates. surrogate: what is differentiated
    twice, see `PolicyGradientAgent`. unit: what advantages are told in within the inner loop,
    about what an episode brings. clip: of the ratio in the outer loss. entropy: its weight there. explore: weight of
    what the first episodes are credited with for what is gained after adapting.
    """
    moves = RULES[rule](lr=lr)
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
        entropy=entropy,
        explore=explore,
    )

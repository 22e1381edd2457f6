"""MAML for policies: what its support set says, and what its outer loss adds to the queries'."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.episode import Episode, Examples, Params, State, map_episode, task
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import learners, models, sources
from quickstudy.rl import GridWorld
from quickstudy.rl.agents.gradient import PolicyGradientAgent
from quickstudy.rl.agents.support import by_steps
from quickstudy.rl.environment import Step
from quickstudy.rl.source import EnvironmentSource, anyhow

CPU = torch.device("cpu")


def small(source: EnvironmentSource, **options: Any) -> tuple[PolicyGradientAgent, Params]:
    """A linear policy, which is drawn."""
    inputs = source.environment.observation[0]
    module = nn.Sequential(nn.Flatten(), nn.Linear(inputs, source.spec.outputs))
    learner: Any = learners["maml-rl"](module, source.spec, **{"steps": 2, "lr": 0.5, **options})
    return learner, learner.init(torch.Generator().manual_seed(0))


def collected(learner: PolicyGradientAgent, params: Params, source: EnvironmentSource, count: int = 3) -> Episode:
    return source.under(learner, params).episodes("train", torch.arange(count))


def doubled(params: Params) -> Params:
    return {name: value.double() for name, value in params.items()}


# The divergence of the policies on the way


def test_the_penalty_is_that_of_each_inner_steps_policy_on_its_own_episodes() -> None:
    """Against r − 1 − log r by hand, on the policy before any step and on that after one."""
    source = sources.make("gridworld", size=3, horizon=5, past=False).sampled(qs.Sampling(1, 4, 2))
    learner, params = small(source)
    episodes = map_episode(exact, collected(learner, params, source))
    params, penalised = doubled(params), replace(learner, kl=0.7)
    draw = torch.Generator().manual_seed(1)
    moved = {n: v + 0.3 * torch.randn(v.shape, generator=draw, dtype=v.dtype) for n, v in params.items()}
    for index in range(3):
        support, _ = episode = task(episodes, index)
        unmoved = penalised.loss(params, episode) - learner.loss(params, episode)
        assert float(unmoved) == pytest.approx(0, abs=1e-6)
        first, second = (Examples(*(t.chunk(2)[half] for t in support)) for half in (0, 1))
        before = learner.start(moved, support)
        total = [
            reckoned(learner, moved, state, part)
            for state, part in ((before, first), (learner.one_step(moved, before, first), second))
        ]
        further = penalised.loss(moved, episode) - learner.loss(moved, episode)
        torch.testing.assert_close(further, 0.7 * (total[0] + total[1]) / 2)
        assert float(further) > 1e-3


def exact(t: Tensor) -> Tensor:
    return t.double() if t.is_floating_point() else t


def reckoned(learner: PolicyGradientAgent, params: Params, state: State, part: Examples) -> Tensor:
    told = learner.actions.outcome(part.y)
    chances = learner.predict(params, state, part.x)[:, :-1].softmax(1).gather(1, told.action[:, None])[:, 0]
    ratio = chances / told.log_prob.exp()
    return (ratio - 1 - ratio.log())[part.mask].mean()


def test_reusing_episodes_stays_near_with_the_penalty(tmp_path: Path) -> None:
    def away(kl: float) -> float:
        config = qs.RunConfig(
            name="agent", tasks=sources.part("bandit", arms=3, past=False), model=models.part("mlp", width=8, depth=1),
            learner=learners.part("maml-rl", kl=kl, clip=10.0), ways=1, shots=8, queries=8, iterations=1, reuse=30,
            lr=0.05, meta_batch=16, validation_episodes=1, compile="off", device="cpu",
        )  # fmt: skip
        run = qs.train(config, out=tmp_path / str(kl), quiet=True)
        x, before = torch.ones(1, 1), run.parts.engine.learner.init(torch.Generator().manual_seed(config.seed))
        learner: Any = run.learner
        was, now = (
            learner.predict(params, learner.blank().adapt(params, _nothing()), x)[0, :-1].log_softmax(0)
            for params in (before, run.params)
        )
        return float((was.exp() * (was - now)).sum())

    free, held = away(0.0), away(10.0)
    assert free > 0.01 and held < 0.3 * free


def _nothing() -> Examples:
    return Examples(torch.zeros(1, 1), torch.zeros(1, 6), torch.zeros(1, dtype=torch.bool))


def test_a_penalty_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="kl=-1"):
        small(sources.make("bandit", arms=2, past=False), kl=-1.0)


# Support sets


@dataclass(frozen=True, kw_only=True)
class Ends(GridWorld):
    """Ends an episode by itself where the goal is reached."""

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        after = super().step(task, state, action, keys)
        return after._replace(ended=after.reward > 0)


def ending(shots: int) -> tuple[EnvironmentSource, Episode]:
    """Episodes one after another in one row, as one who acts at random meets them; some end early."""
    source = EnvironmentSource.of(Ends(size=3, horizon=12), past=False).sampled(qs.Sampling(1, shots, 2))
    return source, task(anyhow(source.stage("train", torch.arange(8)), source.sampling), 3)


def test_support_sets_are_divided_by_episodes_wherever_they_stand() -> None:
    source, (support, _) = ending(shots=4)
    learner, params = small(source, surrogate="dice")
    support, params = Examples(exact(support.x), exact(support.y), support.mask), doubled(params)
    numbers = learner.actions.outcome(support.y).episode
    lengths = [int((numbers[support.mask] == i).sum()) for i in range(4)]
    assert len(set(lengths)) > 1
    apart = [support.mask & (numbers == i) for i in range(4)]
    longest = max(lengths)

    def padded(t: Tensor, chosen: Tensor) -> Tensor:
        return torch.cat([t[chosen], t.new_zeros(longest - int(chosen.sum()), *t.shape[1:])])

    parts = [Examples(*(padded(t, chosen) for t in (support.x, support.y, support.mask))) for chosen in apart]
    state = learner.start(params, support)
    for step in range(2):
        both = Examples(*(torch.cat(pair) for pair in zip(*parts[2 * step : 2 * step + 2], strict=True)))
        state = learner.one_step(params, state, both)
    found = learner.adapt(params, support)
    for name, value in state.items():
        torch.testing.assert_close(found[name], value)
    backwards = (-numbers).argsort(stable=True)  # the last episode first
    again = learner.adapt(params, Examples(*(t[backwards] for t in support)))
    for name, value in state.items():
        torch.testing.assert_close(again[name], value)


def test_episodes_that_cannot_be_divided_are_refused() -> None:
    source, (support, _) = ending(shots=3)
    learner, params = small(source)
    with pytest.raises(DataError, match=r"3 episodes, which cannot be divided among 2 inner steps"):
        learner.adapt(params, support)
    odd = Examples(*(t[None, :-1] for t in support))
    with pytest.raises(DataError, match=r"35 rows, which cannot be divided among 2 inner steps"):
        torch.func.vmap(lambda one: learner.adapt(params, one))(odd)


def test_what_an_agent_collects_is_divided_already() -> None:
    source = EnvironmentSource.of(Ends(size=3, horizon=12), past=False).sampled(qs.Sampling(1, 3, 2))
    learner, params = small(source)
    supports = [task(collected(learner, params, source, 8), index).support for index in range(8)]
    assert any(not support.mask.all() for support in supports)
    for support in supports:
        assert learner.actions.outcome(support.y).episode[support.mask].unique().tolist() == [0, 1, 2, 3, 4, 5]
        assert by_steps(learner.actions, support, 2) is support


def test_tasks_whose_episodes_end_early_weigh_no_more_in_the_outer_loss() -> None:
    """The loss of the queries is per row: twice the padding, half the loss."""
    source = EnvironmentSource.of(Ends(size=3, horizon=6), past=False).sampled(qs.Sampling(1, 3, 2))
    learner, params = small(source)
    episode = task(collected(learner, params, source), 0)
    query = episode.query
    padded = Examples(*(torch.cat([t, torch.zeros_like(t)]) for t in query))
    state = learner.adapt(params, episode.support)
    torch.testing.assert_close(2 * learner.judge(params, state, padded)[0], learner.judge(params, state, query)[0])

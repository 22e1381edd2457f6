"""MAML for policies: what its support set says, and what its outer loss adds to the queries'."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import rng
from quickstudy.engine import Engine
from quickstudy.episode import Episode, Examples, Params, State, map_episode, task
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import learners, models, sources
from quickstudy.rl import Bandit, GridWorld, only
from quickstudy.rl.agents.gradient import PolicyGradientAgent
from quickstudy.rl.agents.support import by_steps
from quickstudy.rl.environment import Step
from quickstudy.rl.source import EnvironmentSource, anyhow
from quickstudy.training.build import build

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


def test_the_rate_of_later_steps_decays() -> None:
    """On the same episodes, and with a rate so small that gradients stay, the second step is half as long."""
    source = sources.make("bandit", arms=2, past=False).sampled(qs.Sampling(1, 8, 2))
    learner, params = small(source, lr=1e-3, lr_decay=0.5)
    support = task(collected(learner, params, source), 0).support
    half = support.y[:8]
    number = torch.arange(16.0)
    told = learner.actions.outcome(torch.cat([half, half]))
    twice = support._replace(y=learner.actions.label(*told._replace(episode=number)))
    start = learner.start(params, twice)["task.1.bias"]
    one = learner.step(params, learner.start(params, twice), twice)["task.1.bias"] - start
    both = learner.adapt(params, twice)["task.1.bias"] - start
    torch.testing.assert_close(both, 1.5 * one, rtol=1e-2, atol=0)
    with pytest.raises(ConfigError, match="of the rule 'sgd' alone, found 'adam'"):
        small(source, rule="adam", lr_decay=0.5)


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


# Evolution strategies


PAYS, RATE, SIGMA = (1.0, 0.0), 3.0, 0.5


def paid_after_a_step(logits: Tensor) -> Tensor:
    """The expected reward of a bandit whose first arm pays 1, (…), after one step of RATE on two pulls with a policy of
    `logits` (…, 2): over all pulls there can be. The advantage is over their mean."""
    policy, total = logits.softmax(-1), torch.zeros_like(logits[..., 0])
    for first in range(2):
        for second in range(2):
            mean = (PAYS[first] + PAYS[second]) / 2
            after = logits
            for arm in (first, second):
                slope = torch.eye(2, dtype=logits.dtype)[arm] - policy  # of log π
                after = after + RATE / 2 * (PAYS[arm] - mean) * slope
            total = total + policy[..., first] * policy[..., second] * after.softmax(-1)[..., 0]
    return total


def smoothed_gradient(logits: Tensor) -> Tensor:
    """E[ε J(φ + σε)] / σ by Gauss-Hermite quadrature, (2,)."""
    nodes, weights = (torch.from_numpy(column) for column in np.polynomial.hermite_e.hermegauss(40))
    noises = torch.cartesian_prod(nodes, nodes)
    mass = torch.cartesian_prod(weights, weights).prod(1) / (2 * math.pi)
    return (mass * paid_after_a_step(logits + SIGMA * noises)) @ noises / SIGMA


def two_arms() -> tuple[EnvironmentSource, PolicyGradientAgent, Params]:
    environment = only(Bandit(arms=2), arms=PAYS)
    source = EnvironmentSource.of(environment, past=False).sampled(qs.Sampling(1, 2, 1))
    module = nn.Sequential(nn.Flatten(), nn.Linear(1, 3, bias=False))
    learner: Any = learners["maml-rl"](module, source.spec, steps=1, lr=RATE)
    weight = torch.tensor([[-1.0], [1.0], [0.0]])
    return source, learner, {"network.1.weight": weight}


def test_the_mean_of_es_is_the_gradient_of_the_smoothed_expected_return_after_adapting() -> None:
    """In standard errors of 40 batches; the gradient of what is paid before adapting is far away."""
    source, learner, params = two_arms()
    engine, batches = Engine(learner, CPU, metagrad="evolution", metagrad_options={"sigma": SIGMA, "pairs": 1}), []
    for batch in range(40):
        indices = torch.arange(1000) + 1000 * batch
        keys = rng.fold(rng.key(3), indices)
        episodes = engine.collected(source, params, "train", indices, keys)
        assert episodes.query.y.shape[:2] == (1000, 2)
        batches.append(-engine.gradients(params, episodes, keys)[0]["network.1.weight"][:, 0])
    each, logits = torch.stack(batches).double(), params["network.1.weight"][:2, 0].double()
    error = each.std(0) / len(batches) ** 0.5
    wanted = torch.cat([smoothed_gradient(logits), torch.zeros(1, dtype=torch.float64)])
    assert float(((each.mean(0) - wanted).abs() / error).max()) < 3.5
    unadapted = torch.func.grad(lambda one: one.softmax(0)[0])(logits)
    assert float(((each.mean(0)[:2] - unadapted).abs() / error[:2]).min()) > 5
    assert float(error.max()) < 0.1 * float(wanted.abs().max())


def test_playing_with_a_phi_of_its_own_in_each_task_is_playing_with_each() -> None:
    source = sources.make("point-robot", horizon=10).sampled(qs.Sampling(1, 3, 2))
    learner, params = small(source, learn_rates=True, rule="adam", lr=0.1)
    many = {n: torch.stack([v, v + 0.3, 2 * v]) for n, v in params.items()}
    whole = source.under(learner.apart(), many).episodes("train", torch.arange(3))
    done = slice(0, 5)  # what was done and paid; advantages and credits are in units of the tasks played together
    for index in range(3):
        own = {name: value[index] for name, value in many.items()}
        alone = task(source.under(learner, own).episodes("train", torch.tensor([index])), 0)
        torch.testing.assert_close(task(whole, index).query.y[:, done], alone.query.y[:, done], atol=1e-4, rtol=1e-3)


def test_es_learns_to_adapt_to_bandits(tmp_path: Path) -> None:
    """One step on eight pulls: with its rate as a part of φ, more of them is made of the pulls."""
    config = qs.RunConfig(
        name="agent", tasks=sources.part("bandit", arms=3, pays="gaussian", noise=0.1, past=False),
        model=models.part("mlp", width=4, depth=1), learner=learners.part("maml-rl", lr=0.3, learn_rates=True),
        metagrad="evolution", metagrad_options={"sigma": 0.3, "pairs": 2}, ways=1, shots=8, queries=8,
        iterations=40, lr=0.1, meta_batch=64, validation_episodes=10, compile="off",
        device="cpu",
    )  # fmt: skip
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    before = qs.train(replace(config, iterations=0), out=tmp_path / "before", quiet=True)
    was, now = before.evaluate(episodes=400), run.evaluate(episodes=400)
    assert now.mean - now.ci95 > was.mean + was.ci95 + 0.1


def test_both_ways_to_run_tasks_give_the_same_estimate() -> None:
    source, learner, params = two_arms()
    found, keys = [], rng.fold(rng.key(3), torch.arange(5))
    for vectorize in ("vmap", "loop"):
        engine = Engine(learner, CPU, vectorize, metagrad="evolution", metagrad_options={"sigma": SIGMA})  # type: ignore[arg-type]
        episodes = engine.collected(source, params, "train", torch.arange(5), keys)
        found.append(engine.gradients(params, episodes, keys))
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(found[0][0], found[1][0])


def test_what_es_cannot_compare_is_refused() -> None:
    source, learner, params = two_arms()
    keys = torch.arange(3)
    engine = Engine(learner, CPU, metagrad="evolution")
    with pytest.raises(ConfigError, match="by 8 perturbed φ, and was given episodes that were played by another"):
        engine.gradients(params, collected(learner, params, source), keys)
    config = qs.RunConfig(
        name="agent", tasks=sources.part("bandit", past=False), model=models.part("mlp", width=4),
        learner=learners.part("maml-rl"), metagrad="evolution", ways=1, shots=2, queries=2, device="cpu",
    )  # fmt: skip
    for changes, match in (
        ({"reuse": 2}, "reuse=2"),
        ({"metagrad_options": {"method": "pes"}}, "after its last inner step alone"),
        ({"learner": learners.part("maml-rl", entropy=0.1)}, "'entropy' of the outer loss"),
    ):
        with pytest.raises(ConfigError, match=match):
            build(replace(config, **changes))

"""One policy for all tasks, and learning from scratch in one of them: what agents are held against."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import rng
from quickstudy.episode import State, leaves, task
from quickstudy.errors import ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.rl import Bandit, EnvironmentSource, GridWorld, Highway, Step, only
from quickstudy.tasks.base import held_out
from quickstudy.testing import check_source

PAYS = torch.tensor([[1.0, 0.0, 0.8], [0.0, 1.0, 0.8]])


@dataclass(frozen=True, kw_only=True)
class TwoTasks(Bandit):
    """The third arm is the best for one who does not know which of two tasks it is in, and never the best in one."""

    arms: int = 3
    pays: Any = "gaussian"
    noise: float = 0.1

    def task(self, split: str, keys: Tensor) -> State:
        return {"arms": PAYS[rng.integers(keys, 2)]}


def plain(**options: Any) -> qs.RunConfig:
    given: dict[str, Any] = {
        "iterations": 60, "meta_batch": 64, "validate_every": 60, "validation_episodes": 20, "lr": 0.03, "reuse": 2,
    }  # fmt: skip
    return qs.RunConfig(
        name="plain", tasks=sources.part("bandit"), model=models.part("mlp", width=8, depth=1),
        learner=learners.part("ppo"), ways=1, shots=1, queries=4, compile="off", device="cpu", **given | options,
    )  # fmt: skip


@pytest.mark.parametrize("past", [True, False])
def test_over_a_family_it_is_the_best_fixed_policy_and_alone_the_best_of_its_task(past: bool, tmp_path: Path) -> None:
    family = EnvironmentSource.of(TwoTasks(), past)
    result = qs.train(plain(), source=family, out=tmp_path / "all", quiet=True).evaluate(episodes=200)
    assert result.mean == pytest.approx(0.8, abs=0.03)
    assert set(result.references) == {"acting at random"}  # it has no memory that could be wiped
    assert result.references["acting at random"]["return"].mean == pytest.approx(0.6, abs=0.05)
    scratch = qs.train(plain(), source=family.alone("test", 3), out=tmp_path / "one", quiet=True)
    assert scratch.evaluate(episodes=200).mean == pytest.approx(1.0, abs=0.03)
    assert not scratch.kept["held_out"]  # all splits are the one task, and the run knows


@dataclass(frozen=True, kw_only=True)
class PaidOtherwise(TwoTasks):
    """As if rewards were told in another currency."""

    rate: float = 1.0

    def task(self, split: str, keys: Tensor) -> State:
        return {"arms": self.rate * super().task(split, keys)["arms"]}


def test_rewards_and_their_unit_can_be_told_in_another_currency(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All that is learned is the same, and a unit that is far off is said."""
    runs = []
    for rate in (1.0, 64.0):
        source = EnvironmentSource.of(PaidOtherwise(rate=rate, noise=0.1 * rate), past=False)
        config = replace(plain(iterations=8), learner=learners.part("ppo", unit=rate))
        runs.append(qs.train(config, source=source, out=tmp_path / f"{rate}", quiet=True))
    one, other = (run.params for run in runs)
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-3, rtol=1e-3)
    means = [run.evaluate(episodes=20).mean for run in runs]
    assert means[1] == pytest.approx(64 * means[0], rel=0.02)
    assert "unit" not in caplog.text
    for name in ("off", "off again"):  # each training says it anew
        caplog.clear()
        qs.train(plain(iterations=2), source=source, out=tmp_path / name, quiet=True)
        assert "units of 1, but what is still to come differs from step to step by about" in caplog.text


@pytest.mark.parametrize("tasks", ["gridworld", "arcade"])
def test_nothing_of_the_step_before_reaches_it(tasks: str) -> None:
    """With the same observations it does the same, whatever was done before and whatever that brought."""
    source = sources.make(tasks, horizon=5, past=True).sampled(qs.Sampling(1, 1, 2))
    wide = math.prod(source.spec.input_shape)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(wide, source.spec.outputs))
    learner = learners["ppo"](module, source.spec)
    params = learner.init(torch.Generator().manual_seed(0))
    query = task(source.under(learner, params).episodes("train", torch.arange(1)), 0).query
    steps: Any = source.spec.format
    noise = torch.randn(query.x.shape, generator=torch.Generator().manual_seed(1))
    other = query.x + (noise - steps.without_past(noise))
    seen = [steps.without_past(x)[:, : steps.observation[0]] for x in (query.x, other)]
    assert torch.equal(*seen) and not torch.equal(query.x, other)
    assert torch.equal(seen[0], query.x[:, : steps.observation[0]])  # what is seen is left as it was
    assert torch.equal(learner.predict(params, {}, query.x), learner.predict(params, {}, other))


def test_where_time_is_up_what_would_have_followed_counts() -> None:
    """The value of an episode's last step is its reward and γ times what the policy expects at the place it led to;
    that of a step before it, with λ = 1, its reward and γ times the last one's."""
    source = sources.make("point-robot", horizon=4).sampled(qs.Sampling(1, 1, 3))
    learner = learners["ppo"](torch.nn.Linear(2, source.spec.outputs), source.spec, discount=0.9, trace=1.0, unit=5.0)
    params = learner.init(torch.Generator().manual_seed(0))
    query = task(source.under(learner, params).episodes("train", torch.arange(1)), 0).query
    told = source.spec.target.outcome(query.y)
    place = query.x + 0.1 * told.action.clamp(-1, 1)
    expected = 5 * source.spec.target.value(learner.predict(params, {}, place))
    last = torch.tensor([3, 7, 11])
    torch.testing.assert_close(5 * told.value[last], told.reward[last] + 0.9 * expected[last])
    torch.testing.assert_close(told.value[last - 1] * 5, told.reward[last - 1] + 0.9 * 5 * told.value[last])


def test_it_is_adapted_saved_and_acts_without_being_told_what_came_of_it(tmp_path: Path) -> None:
    run = qs.train(plain(iterations=1, validate_every=1), out=tmp_path / "run", quiet=True)
    model = run.adapt(Bandit(arms=5), episodes=2)
    done = [model.act([1.0]) for _ in range(6)]
    again = qs.Model.load(model.save(tmp_path / "model"))
    assert [again.act([1.0]) for _ in range(6)] == done


def test_resuming_is_the_same_as_never_having_stopped(tmp_path: Path) -> None:
    config = plain(iterations=4, validate_every=2, parts=2)
    whole = qs.train(config, out=tmp_path / "whole", quiet=True)
    qs.train(replace(config, iterations=2), out=tmp_path / "half", quiet=True)
    again = qs.resume(tmp_path / "half", iterations=4, quiet=True)
    assert all(torch.equal(value, again.params[name]) for name, value in whole.params.items())


@pytest.mark.parametrize("tasks", ["bandit", "tabular-mdp", "gridworld", "point-robot", "highway", "arcade"])
def test_a_source_alone_has_one_task_which_is_the_one_that_was_asked_for(tasks: str) -> None:
    family = sources.make(tasks, **{} if tasks == "bandit" else {"horizon": 5}).seeded(7)
    one = family.alone("test", 3)
    wanted = family.stage("test", torch.tensor([3])).task
    for split in ("train", "val", "test"):
        found = one.stage(split, torch.arange(4)).task
        assert all(torch.equal(found[name], value.expand_as(found[name])) for name, value in wanted.items())
    assert any(
        not torch.equal(a, b)
        for a, b in zip(leaves(family.stage("test", torch.tensor([4])).task), leaves(wanted), strict=True)
    )
    check_source(family.alone("test", 3).sampled(qs.Sampling(1, 1, 1)))
    with pytest.raises(ConfigError, match="counted from 0"):
        family.alone("test", -1)


def test_what_is_given_in_part_is_a_family_whose_tests_are_new() -> None:
    road = EnvironmentSource.of(only(Highway(), lanes=3), True)
    tasks = road.stage("test", torch.arange(9)).task
    assert tasks["lanes"].unique().tolist() == [3] and len(tasks["pays"].unique()) == 9
    assert held_out(road, "test") and not held_out(road.alone("test", 0), "test")
    assert len(EnvironmentSource.of(only(GridWorld(size=3)), True).classes("test")) == 8


def test_a_task_of_gymnasium_alone_keeps_its_numbers() -> None:
    pytest.importorskip("gymnasium")
    family = sources.make("gym", id="cartpole", horizon=5, workers=0)
    one = family.alone("val", 2)
    numbers = family.stage("val", torch.tensor([2])).task["numbers"]
    assert torch.equal(one.stage("train", torch.arange(3)).task["numbers"], numbers.expand(3, -1))
    assert one.sampled(qs.Sampling(1, 1, 1)).episodes("train", torch.arange(2)).query.mask.any()


@dataclass(frozen=True, kw_only=True)
class Told(Bandit):
    """Every pull pays what was drawn, and says that its mean is ten times the number of the arm."""

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        step = super().step(task, state, action, keys)
        return step._replace(expected=10.0 * action.to(step.reward.dtype))


def test_agents_are_paid_what_is_drawn_and_trained_by_its_mean() -> None:
    """With γ = 0 an advantage is what a step is worth less its value; the memory and the returns hear what was paid."""
    source = EnvironmentSource.of(Told(arms=3), True).sampled(qs.Sampling(1, 4, 4))
    module = torch.nn.Linear(*map(math.prod, (source.spec.input_shape, (8,))))
    learner = learners["rl2"](module, source.spec, width=8, discount=0.0)
    params = learner.init(torch.Generator().manual_seed(0))
    stage = source.stage("train", torch.arange(50))
    query = learner.collected(params, stage, source.sampling).query
    told = learner.actions.outcome(query.y)
    torch.testing.assert_close(told.value, 10.0 * told.action.to(told.value.dtype))
    assert set(told.reward.unique().tolist()) == {0.0, 1.0}
    heard = leaves(query.x)[0][:, 1:, 1 + 3]  # beside what is seen and the three actions
    assert torch.equal(heard, told.reward[:, :-1])


def test_inner_steps_learn_from_what_was_paid() -> None:
    """In a new task nobody knows the mean."""
    sides = []
    for environment in (Bandit(arms=3), Told(arms=3)):
        source = EnvironmentSource.of(environment, False).sampled(qs.Sampling(1, 4, 4))
        learner = learners["maml-rl"](torch.nn.Linear(1, source.spec.outputs), source.spec)
        params = learner.init(torch.Generator().manual_seed(0))
        sides.append(learner.collected(params, source.stage("train", torch.arange(20)), source.sampling))
    assert all(torch.equal(*pair) for pair in zip(leaves(sides[0]), leaves(sides[1]), strict=True))

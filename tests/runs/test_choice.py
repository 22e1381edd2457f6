"""Training tasks that are chosen by what they teach."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import ConfigError
from quickstudy.registry import learners
from quickstudy.tasks.base import Sampling
from quickstudy.training.choice import Choice, alignment
from quickstudy.training.loop import Interrupted
from quickstudy.training.step import Steps


def source(within: bool = False) -> Any:
    torch.manual_seed(0)
    x = torch.randn(24, 6).repeat_interleave(8, 0) + 0.2 * torch.randn(192, 6)
    made = qs.tasks.arrays(x, [f"{'abcd'[i // 48]}/{i // 8}" for i in range(192)], val=0.25, test=0.25)
    if not within:
        return made
    groups = torch.tensor([ord(name[0]) for name in made.pool.names])
    return replace(made, within=True, pool=replace(made.pool, groups=groups))


def config(**changes: Any) -> qs.RunConfig:
    return qs.RunConfig(
        name="c", learner=learners.part("protonet"), ways=2, shots=1, queries=3, meta_batch=2, validation_episodes=2,
        **({"iterations": 4, "candidates": 4} | changes),
    )  # fmt: skip


def test_arms_are_the_classes_or_groups_of_a_task() -> None:
    classes = source().sampled(Sampling(3, 1, 1))
    names = classes.arms("train")
    for i, row in enumerate(classes.arms_of("train", torch.arange(5)).tolist()):
        assert [names[a] for a in row] == classes.class_names("train", i)
    groups = source(within=True).sampled(Sampling(2, 1, 1))
    assert set(groups.arms("train")) <= set("abcd")
    for i, row in enumerate(groups.arms_of("train", torch.arange(5)).tolist()):
        assert {groups.arms("train")[a] for a in row} == {name[0] for name in groups.class_names("train", i)}


def test_arms_that_had_more_come_more_often_and_all_come() -> None:
    inner = source().sampled(Sampling(2, 1, 1))
    choice = Choice(inner, "loss", 8, 0)
    hard = 3

    def share() -> float:
        taken = torch.cat([choice.indices(step, 4) for step in range(200)])
        return float((inner.arms_of("train", taken) == hard).any(1).double().mean())

    before = share()
    for _ in range(3):
        taken = torch.arange(100)
        own = (inner.arms_of("train", taken) == hard).any(1).double()
        choice.learned(taken, own, None)
    assert share() > 1.5 * before
    assert math.isclose(float(choice.probabilities.sum()), 1.0)
    assert float(choice.probabilities.min()) >= 0.2 / len(choice.arms) - 1e-12


@pytest.mark.parametrize(("within", "candidates"), [(True, 2), (True, 8), (False, 4)])
def test_rewards_of_the_bandit_are_unbiased_for_every_arm_however_often_it_is_taken(
    within: bool, candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quickstudy.training.choice._FORGETS", 1.0)
    inner = source(within).sampled(Sampling(2, 1, 1))
    choice = Choice(inner, "exp3", candidates, 0)
    count, places = len(choice.arms), 20_000
    start = 20 * torch.linspace(0, 1, count, dtype=torch.float64)
    choice.score = start.clone()
    expected = 0.8 * (0.1 * start).softmax(0) + 0.2 / count
    torch.testing.assert_close(choice.probabilities, expected)
    taken = choice.indices(0, places)
    choice.learned(taken, torch.zeros(places), torch.tensor(0.5))
    share = choice.seen / places
    assert float(share.max() / share.min()) > 1.5  # arms are not alike
    reward = (choice.score - start) * count / places
    torch.testing.assert_close(reward, torch.full_like(reward, 0.75), rtol=0.1, atol=0.0)


def test_the_bandit_s_probability_is_that_of_the_tasks_on_offer() -> None:
    """Of candidates 0 … 3, by hand."""
    inner = source(within=True).sampled(Sampling(2, 1, 1))
    choice = Choice(inner, "exp3", 4, 0)
    choice.score = torch.linspace(0, 9, len(choice.arms), dtype=torch.float64)
    before, p = choice.score.clone(), choice.probabilities
    arms = inner.arms_of("train", torch.arange(4))[:, 0]
    arm = int(arms[2])
    of_the_arm = float(p[arms[arms == arm]].sum() / p[arms].sum())
    often = (inner.arms_of("train", torch.arange(1 << 14))[:, 0] == arm).double().mean()
    choice.learned(torch.tensor([2]), torch.zeros(1), torch.tensor(0.5))
    added = 0.75 / (of_the_arm * (1 - (1 - float(often)) ** 4) * len(choice.arms))
    assert float(choice.score[arm]) == pytest.approx(0.995 * float(before[arm]) + added, rel=1e-4)


def test_uniform_choice_is_the_stream_as_it_was() -> None:
    assert Choice(source(), "uniform", 8, 0).indices(3, 4).tolist() == [12, 13, 14, 15]


def test_alignment_is_a_cosine() -> None:
    one = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([2.0])}
    other = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([3.0])}
    assert math.isclose(float(alignment(one, other)), 6 / math.sqrt(5 * 10), rel_tol=1e-6)
    assert float(alignment(one, {n: -v for n, v in one.items()})) == pytest.approx(-1)
    assert float(alignment(one, {n: 0 * v for n, v in one.items()})) == 0


@pytest.mark.parametrize("how", ["loss", "alignment", "exp3"])
def test_a_resumed_run_chooses_as_one_that_never_stopped(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = config(choose=how, checkpoint_every=1)
    torch.manual_seed(0)
    network = nn.Linear(6, 4)
    whole = qs.train(wanted, out=tmp_path / "whole", module=network, source=source(), quiet=True)
    take = Steps.take

    def stopping(steps: Steps, number: int) -> tuple[Tensor, Tensor]:
        if number == 1:
            steps._stop.asked = True
        return take(steps, number)

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "take", stopping)
        with pytest.raises(Interrupted):
            qs.train(wanted, out=tmp_path / "part", module=network, source=source(), quiet=True)
    part = qs.resume(tmp_path / "part", module=network, source=source(), quiet=True)
    assert all(torch.equal(part.params[name], value) for name, value in whole.params.items())
    plain = qs.train(replace(wanted, choose="uniform"), out=tmp_path / "u", module=network, source=source(), quiet=True)
    assert not all(torch.equal(plain.params[name], value) for name, value in whole.params.items())


@pytest.mark.parametrize("how", ["alignment", "exp3"])
def test_gradients_of_training_classes_are_not_taken_for_validation_s(how: Any) -> None:
    made = source().sampled(Sampling(2, 1, 1))
    leaking = replace(made, splits=made.splits | {"val": made.splits["train"]})
    with pytest.raises(ConfigError, match="nothing is held out"):
        Choice(leaking, how, 4, 0)
    assert Choice(made, how, 4, 0).aligned and Choice(leaking, "loss", 4, 0).arms  # which never asks


def test_tasks_of_no_known_classes_are_refused(tmp_path: Path) -> None:
    sinusoids = replace(
        qs.recipes.sinusoid_maml(), choose="loss", iterations=1, validation_episodes=1, calibration_episodes=1
    )
    with pytest.raises(ConfigError, match="known by name"):
        qs.train(sinusoids, out=tmp_path / "r", quiet=True)

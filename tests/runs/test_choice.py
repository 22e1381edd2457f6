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
from quickstudy.training.loop import Interrupted, Training


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


def test_the_bandit_divides_rewards_by_probabilities() -> None:
    inner = source(within=True).sampled(Sampling(2, 1, 1))
    choice = Choice(inner, "exp3", 4, 0)
    arm = int(inner.arms_of("train", torch.tensor([0]))[0, 0])
    count = len(choice.arms)
    choice.learned(torch.tensor([0]), torch.zeros(1), torch.tensor(0.5))
    assert math.isclose(float(choice.score[arm]), 0.75 / (1 / count * count))
    score = choice.score * 0.1
    expected = 0.8 * score.softmax(0) + 0.2 / count
    torch.testing.assert_close(choice.probabilities, expected)


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
    step = Training._one_step

    def stopping(self: Training) -> tuple[Tensor, Tensor]:
        if self.step == 1:
            self._stop.asked = True
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_one_step", stopping)
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

"""Support examples without a class: what they change, and who refuses them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.episode import Examples
from quickstudy.errors import ConfigError, DataError
from quickstudy.heads import Prototypes
from quickstudy.learners.semi import RefinedPrototypes
from quickstudy.masked import UNLABELLED
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec, check_examples
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.partly import PartlyLabelled
from quickstudy.tasks.transformed import transformed
from tests.tasks.made_up import drawing

SPEC = TaskSpec(qs.formats.Array(shape=(2,)), qs.targets.Classes(ways=2))


def support(x: Tensor, y: list[int]) -> Examples:
    return Examples(x, torch.tensor(y), torch.ones(len(y), dtype=torch.bool))


def test_one_round_is_soft_k_means_by_hand() -> None:
    x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 1.5], [0.2, 0.1]], dtype=torch.float64)
    given = support(x, [0, 1, UNLABELLED, UNLABELLED])
    head = RefinedPrototypes(temperature=0.7, distractors=False)
    found = head.fit(head.init(SPEC), x, given, SPEC)["prototypes"]
    share = torch.stack([torch.exp(-0.7 * (x[2:] - p).square().sum(1)) for p in x[:2]], 1)
    share = share / share.sum(1, keepdim=True)
    by_hand = torch.stack([(x[c] + share[:, c] @ x[2:]) / (1 + share[:, c].sum()) for c in range(2)])
    torch.testing.assert_close(found, by_hand)


def test_the_distractor_cluster_takes_what_lies_near_its_centre() -> None:
    x = torch.tensor([[4.0, 0.0], [0.0, 4.0], [4.2, 0.0], [0.1, 0.1]], dtype=torch.float64)
    given = support(x, [0, 1, UNLABELLED, UNLABELLED])
    head = RefinedPrototypes()
    params = {"log_radius": torch.tensor(0.3, dtype=torch.float64)}
    found = head.fit(params, x, given, SPEC)["prototypes"]
    near = torch.stack(
        [
            -(x[2:] - x[0]).square().sum(1),
            -(x[2:] - x[1]).square().sum(1),
            -x[2:].square().sum(1) / 2.718281828459045**0.6 - 0.3,
        ],
        1,
    )
    share = near.softmax(1)
    by_hand = torch.stack([(x[c] + share[:, c] @ x[2:]) / (1 + share[:, c].sum()) for c in range(2)])
    torch.testing.assert_close(found, by_hand)
    assert float((found[1] - x[1]).norm()) < 1e-3  # the point near 0 moves no class


def test_without_unlabelled_examples_or_rounds_these_are_prototypes() -> None:
    x = torch.randn(6, 2, dtype=torch.float64)
    for y, rounds in (([0, 0, 0, 1, 1, 1], 3), ([0, 0, 1, 1, UNLABELLED, UNLABELLED], 0)):
        given = support(x, y)
        head = RefinedPrototypes(rounds=rounds)
        refined = head.fit(head.init(SPEC), x, given, SPEC)
        plain = Prototypes().fit({}, x, given, SPEC)
        torch.testing.assert_close(refined["prototypes"], plain["prototypes"])


def test_a_class_without_support_stays_absent_and_gradients_are_finite() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    head = RefinedPrototypes()
    given = support(x, [0, UNLABELLED, UNLABELLED])
    state = head.fit(head.init(SPEC), x, given, SPEC)
    assert state["present"].tolist() == [True, False]
    grad = torch.autograd.grad(state["prototypes"].sum(), x)[0]
    assert bool(torch.isfinite(grad).all())


def test_examples_without_a_class_are_support_examples_only_where_that_is_said() -> None:
    given = support(torch.zeros(2, 2), [0, UNLABELLED])
    check_examples(given, SPEC, partly=True)
    with pytest.raises(DataError, match="class ids from -1"):
        check_examples(given, SPEC)


def source(classes: int = 12) -> qs.tasks.arrays:
    x = torch.eye(classes).repeat_interleave(12, 0) * 3 + 0.1 * torch.randn(12 * classes, classes)
    return qs.tasks.arrays(x, [f"c{i // 12}" for i in range(len(x))], val=0.3, test=0.3)


def test_tasks_with_unlabelled_examples_and_distractors() -> None:
    inner = source().sampled(Sampling(2, 1, 3))
    partly = PartlyLabelled.of(inner, 2, distractors=1)
    episode = partly.episodes("train", torch.arange(5))
    y = episode.support.y
    assert y.tolist() == [[0, 1, *[UNLABELLED] * 6]] * 5
    assert episode.query.y.tolist() == [[0, 0, 0, 1, 1, 1]] * 5 and partly.spec.ways == 2
    classes = episode.support.x.argmax(-1)
    assert all(len(set(row[2:].tolist()) - set(row[:2].tolist())) == 1 for row in classes)  # the third is of no class
    again = partly.sampled(Sampling(3, 2, 1)).sampled(Sampling(2, 1, 3)).episodes("train", torch.arange(5))
    assert torch.equal(again.support.x, episode.support.x)
    mixed = transformed(partly, shuffle_labels=True).episodes("train", torch.arange(5))
    assert bool((mixed.support.y == UNLABELLED).eq(y == UNLABELLED).all())
    with pytest.raises(ConfigError, match="all of one size"):
        partly.sampled(Sampling(3, 2, 1, min_shots=1))


def test_unlabelled_examples_help(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(12, 8).repeat_interleave(20, 0) + 0.8 * torch.randn(240, 8)
    noisy = qs.tasks.arrays(x, [f"c{i // 20}" for i in range(240)], val=0.5, test=0.0)
    accuracy = {}
    for rounds in (0, 3):
        config = qs.RunConfig(
            name="semi", learner=learners.part("semi-protonet", rounds=rounds, distractors=False), ways=4, shots=1,
            queries=5, unlabelled=10, iterations=0, validation_episodes=200,
        )  # fmt: skip
        run = qs.train(config, out=tmp_path / f"{rounds}", module=nn.Identity(), source=noisy, quiet=True)
        accuracy[rounds] = run.kept["validation"]
        interval = run.kept["validation_ci95"]
    assert accuracy[3] > accuracy[0] + 2 * interval


def test_tasks_with_unlabelled_examples_run_through_training_and_evaluation(tmp_path: Path) -> None:
    config = qs.RunConfig(
        name="semi", learner=learners.part("semi-protonet", temperature=0.2), ways=2, shots=1, queries=3, unlabelled=4,
        distractors=1, iterations=2, meta_batch=2, validation_episodes=2,
    )  # fmt: skip
    run = qs.train(config, out=tmp_path / "r", module=nn.Linear(12, 8), source=source(), quiet=True)
    result = run.evaluate(episodes=4)
    assert result.episodes == 4 and not result.transductive
    with pytest.raises(ConfigError, match="'protonet' makes nothing of support examples without a label"):
        qs.train(replace(config, learner=learners.part("protonet")), module=nn.Linear(12, 8), source=source())


def test_a_model_learns_from_records_without_labels(tmp_path: Path) -> None:
    config = qs.RunConfig(name="semi", learner=learners.part("semi-protonet"), ways=2, queries=3, iterations=0)
    run = qs.train(config, out=tmp_path / "r", module=nn.Identity(), source=source(), quiet=True)
    x = 3 * torch.eye(12)[[0, 1, 0, 1, 0]] + 0.5 * torch.randn(5, 12)
    by_none = run.adapt(x, ["a", "b", None, None, None])
    of_frame = run.adapt(x, np.array(["a", "b", np.nan, None, np.nan], dtype=object))  # as a column of pandas has it
    assert all(torch.equal(value, of_frame.state[name]) for name, value in by_none.state.items())
    by_records = run.adapt(x[:2], ["a", "b"], unlabelled=x[2:])
    assert torch.equal(by_none.state["prototypes"], by_records.state["prototypes"])
    assert not torch.equal(by_none.state["prototypes"], run.adapt(x[:2], ["a", "b"]).state["prototypes"])
    assert by_none.names == ("a", "b") and by_none.provenance["support"] == 5
    plain = replace(config, learner=learners.part("protonet"))
    other = qs.train(plain, out=tmp_path / "p", module=nn.Identity(), source=source(), quiet=True)
    with pytest.raises(ConfigError, match="'protonet' makes nothing of support examples without a label"):
        other.adapt(x[:2], ["a", "b"], unlabelled=x[2:])
    with pytest.raises(DataError, match="no label for example 2"):
        other.adapt(x, ["a", "b", None, None, None])
    with pytest.raises(DataError, match="No support example has a label"):
        run.adapt(x, [None] * 5)


def test_a_folder_of_unsorted_files_beside_the_support_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for c in "ab":
        (tmp_path / "support" / c).mkdir(parents=True)
        drawing(ord(c)).save(tmp_path / "support" / c / "1.png")
    (tmp_path / "unsorted" / "deep").mkdir(parents=True)
    for i in range(3):
        drawing(i).save(tmp_path / "unsorted" / "deep" / f"{i}.png")
    config = replace(qs.recipes.demo_glyphs(), learner=learners.part("semi-protonet"), iterations=0)
    run = qs.train(config, out=tmp_path / "r", quiet=True)
    words = ["--support", str(tmp_path / "support"), "--unlabelled", str(tmp_path / "unsorted")]
    assert main(["adapt", str(run.folder), *words, "--out", str(tmp_path / "m")]) == 0
    assert "from 5 images" in capsys.readouterr().out

"""Runs that imitate a finished one, and runs in stages: pretraining, meta-training, fine-tuning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import assert_same_bits, blobs, class_run, train_until

import quickstudy as qs
from quickstudy.entries import TEACHER, prefixed
from quickstudy.errors import ConfigError
from quickstudy.training.config import RunConfig


def student(**changes: Any) -> RunConfig:
    part = qs.registry.learners.part("rfs", distil=0.5)
    return replace(class_run("rfs", iterations=12), learner=part, **changes)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> qs.Run:
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    return qs.train(class_run("rfs", iterations=60, lr=0.01), source=blobs(), out=folder, quiet=True)


def test_a_student_holds_the_teacher_s_phi_and_moves_none_of_it(teacher: qs.Run, tmp_path: Path) -> None:
    config = student(teacher=str(teacher.folder), seed=3)
    run = qs.train(config, source=blobs(), out=tmp_path / "student", quiet=True)
    taught = prefixed(TEACHER, run.params)
    assert taught.keys() == teacher.params.keys()
    assert all(torch.equal(value, teacher.params[name]) for name, value in taught.items())
    again = qs.train(student(teacher=str(run.folder)), source=blobs(), out=tmp_path / "grandchild", quiet=True)
    assert not prefixed(TEACHER + TEACHER, again.params)
    plain = {n: v for n, v in run.params.items() if not n.startswith(TEACHER)}
    assert all(torch.equal(value, plain[name]) for name, value in prefixed(TEACHER, again.params).items())
    reread = qs.Run(run.folder, source=blobs())
    assert reread.evaluate(episodes=20, split="val").mean == run.evaluate(episodes=20, split="val").mean


def test_a_student_that_only_imitates_comes_to_answer_as_its_teacher(teacher: qs.Run, tmp_path: Path) -> None:
    part = qs.registry.learners.part("rfs", distil=1.0, temperature=1.0)
    config = replace(student(teacher=str(teacher.folder), seed=3, lr=0.01), learner=part, iterations=300)
    run = qs.train(config, source=blobs(), out=tmp_path / "student", quiet=True)
    x = torch.randn(200, 8)

    def answers(params: Any) -> torch.Tensor:
        learner = run.parts.engine.learner
        return learner._all_classes(params, x).softmax(1)  # type: ignore[attr-defined, no-any-return]

    theirs, mine = answers(teacher.params), answers(run.params)
    untaught = answers(run.untrained())
    distance = [float((theirs - ours).abs().sum(1).mean()) for ours in (mine, untaught)]
    assert distance[0] < distance[1] / 2


def test_a_student_goes_on_to_the_same_bits(teacher: qs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = student(teacher=str(teacher.folder))
    whole = qs.train(config, source=blobs(), out=tmp_path / "whole", quiet=True)
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr("small_runs.train", lambda c, out, quiet: qs.train(c, source=blobs(), out=out, quiet=quiet))
        train_until(7, config, stopped, monkeypatch)
    qs.resume(stopped, source=blobs(), quiet=True)
    assert_same_bits(whole.folder, stopped)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, "none was given"),
        ({"learner": qs.registry.learners.part("rfs"), "teacher": "TEACHER"}, "this learner imitates none"),
        ({"model": qs.registry.models.part("mlp", width=7), "teacher": "TEACHER"}, "cannot be the teacher"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(
    teacher: qs.Run, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    changes = changes | ({"teacher": str(teacher.folder)} if "teacher" in changes else {})
    with pytest.raises(ConfigError, match=complaint):
        qs.train(replace(student(), **changes), source=blobs(), out=tmp_path / "student", quiet=True)
    assert not (tmp_path / "student").exists()


def test_meta_training_starts_from_a_pretrained_encoder_and_fine_tuning_from_that(
    teacher: qs.Run, tmp_path: Path
) -> None:
    """P > M > F: each stage is a run that starts from the last."""
    learner = qs.registry.learners.part
    meta = replace(class_run("meta-baseline", iterations=0), start=str(teacher.folder))
    met = qs.train(meta, source=blobs(), out=tmp_path / "met", quiet=True)
    assert torch.equal(met.params["network.linear1.weight"], teacher.params["network.linear1.weight"])
    tuned = replace(
        class_run("finetune", iterations=0),
        learner=learner("baseline++", tune="all", steps=5, lr=0.01),
        start=str(met.folder),
    )
    run = qs.train(tuned, source=blobs(), out=tmp_path / "tuned", quiet=True)
    before, after = (r.evaluate(episodes=50, split="test") for r in (met, run))
    assert after.mean > 0.5
    assert before.mean > 0.5
    model = run.adapt(torch.randn(6, 8), ["a", "b", "c"] * 2)
    assert not torch.equal(model.state["task.linear1.weight"], run.params["network.linear1.weight"])

"""Which training classes help which held-out ones."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.episode import Episode, Params, task
from quickstudy.errors import ConfigError
from quickstudy.evaluation.estimate import Estimate, student
from quickstudy.evaluation.influence import influence
from quickstudy.registry import learners
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource


def domains() -> ClassSource:
    """Classes told apart by the first two features ('good', and those held out), and others by the last two ('odd')."""
    torch.manual_seed(0)
    x, y = [], []
    for domain, at in (("good", 0), ("odd", 2), ("held", 0)):
        for c in range(6):
            centre = torch.zeros(4)
            centre[at : at + 2] = 2 * torch.randn(2)
            x.append(
                centre + torch.randn(12, 4) * torch.tensor([0.3] * 2 + [3.0] * 2 if at == 0 else [3.0] * 2 + [0.3] * 2)
            )
            y += [f"{domain}/{c}"] * 12
    names = sorted(set(y))
    train = [name for name in names if not name.startswith("held")]
    held = [name for name in names if name.startswith("held")]
    source = qs.tasks.arrays(torch.cat(x), y, splits={"train": train, "val": held, "test": []})
    groups = torch.tensor([["good", "odd", "held"].index(name.split("/")[0]) for name in source.pool.names])
    return replace(source, within=True, pool=replace(source.pool, groups=groups))


def trained(folder: Path, source: Source) -> qs.Run:
    torch.manual_seed(0)
    config = qs.RunConfig(
        name="i", learner=learners.part("protonet", temperature=0.1), ways=3, shots=2, queries=4, iterations=1,
        validation_episodes=2,
    )  # fmt: skip
    return qs.train(config, out=folder, module=nn.Linear(4, 4), source=source, quiet=True)


def test_a_domain_like_the_held_out_one_helps_and_another_hurts(tmp_path: Path) -> None:
    run = trained(tmp_path / "r", domains())
    parts = run.parts
    found = influence(parts.training_engine, run.params, parts.training, (parts.source, "val"), 24, 4, 0.05)
    assert found.train == ("good", "odd") and len(found.held) == 6  # one group is held out: its classes
    good, odd = found.total["good"], found.total["odd"]
    assert good.mean + good.ci95 < 0 < odd.mean - odd.ci95
    assert found.hurting == ["odd"] and set(found.held_loss) == set(found.held) and set(found.loss) == {"good", "odd"}
    small = influence(parts.training_engine, run.params, parts.training, (parts.source, "val"), 24, 4, 0.001)
    ratio = found.total["odd"].mean / small.total["odd"].mean
    assert ratio == pytest.approx(50, rel=0.5)  # to first order in the length of the step


def test_the_interval_is_over_draws_of_training_tasks_and_of_held_out_ones_and_for_all_arms(tmp_path: Path) -> None:
    source = domains()
    run = trained(tmp_path / "r", source)
    engine, training, learner = run.parts.training_engine, run.parts.training, run.parts.training_engine.learner
    draws, tasks, held = 3, 4, run.parts.source
    found = influence(engine, run.params, training, (held, "val"), tasks, draws, 0.05)
    length = 0.05 * math.sqrt(sum(float(value.square().sum()) for value in run.params.values()))

    def own(of: Source, split: str, arm: int, count: int) -> Tensor:
        there = (of.arms_of(split, torch.arange(2000)) == arm).any(1).nonzero().flatten()
        return there[: draws * count].view(draws, count)

    def loss(phi: Params, episodes: Episode) -> Tensor:
        some = [task(episodes, i) for i in range(len(episodes.query.mask))]
        return torch.stack([learner.judge(phi, learner.adapt(phi, e.support), e.query)[0] for e in some]).mean()

    for arm, name in enumerate(training.arms("train")):
        means = []
        for draw, at in enumerate(own(training, "train", arm, tasks)):
            phi = {n: value.clone().requires_grad_() for n, value in run.params.items()}
            grads = torch.autograd.grad(loss(phi, training.episodes("train", at)), list(phi.values()))
            size = torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()
            moved = {n: run.params[n] - length * grad / size for n, grad in zip(phi, grads, strict=True)}
            judged = [held.episodes("val", own(held, "val", other, 2)[draw]) for other in range(6)]
            means.append(sum(float(loss(moved, e) - loss(run.params, e)) for e in judged) / 6)
        assert found.total[name].mean == pytest.approx(sum(means) / draws, rel=1e-3)
        wide = 6.205 * statistics.stdev(means) / math.sqrt(draws)  # of two degrees of freedom, 2.5 % for two arms
        assert found.total[name].ci95 == pytest.approx(wide, rel=1e-3)


def test_student_s_distribution_in_closed_form() -> None:
    for tail in (0.3, 0.05, 1e-4):
        assert student(tail, 1) == pytest.approx(math.tan(math.pi * (1 - tail) / 2))
        assert student(tail, 2) == pytest.approx((1 - tail) * math.sqrt(2 / (1 - (1 - tail) ** 2)))
    assert student(0.05, 100_000) == pytest.approx(1.96, abs=1e-3)
    assert math.isnan(Estimate.of_draws(torch.ones(1)).ci95)


def test_where_nothing_hurts_hardly_any_of_many_arms_is_said_to_hurt() -> None:
    """Changes that differ by the draw of training tasks, and by that of held-out tasks, which all arms share."""
    drawn = torch.Generator().manual_seed(0)
    changes = torch.randn(400, 30, 8, generator=drawn) + torch.randn(400, 1, 8, generator=drawn)

    def wrong(comparisons: int) -> int:
        estimates = [[Estimate.of_draws(arm, comparisons) for arm in study] for study in changes]
        return sum(any(one.mean > one.ci95 for one in study) for study in estimates)

    assert wrong(30) <= 0.05 * 400 < 0.2 * 400 < wrong(1)


def test_tasks_of_no_known_domain_are_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "r", domains())
    sinusoid = qs.tasks.sinusoid()
    with pytest.raises(ConfigError, match="Nothing tells"):
        influence(run.parts.training_engine, run.params, sinusoid, (sinusoid, "val"))


def test_training_classes_are_not_taken_for_held_out_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = qs.tasks.arrays(torch.randn(90, 4), [f"c{i // 6}" for i in range(90)], val=0)
    run = trained(tmp_path / "r", source)
    parts = run.parts
    with pytest.raises(ConfigError, match="The val tasks are of training classes: nothing is held out"):
        influence(parts.training_engine, run.params, parts.training, (parts.source, "val"))
    (tmp_path / "nothing_held_out.py").write_text(
        "import torch, quickstudy as qs\nfrom torch import nn\ndef module(): return nn.Linear(4, 4)\n"
        "def source(): return qs.tasks.arrays(torch.ones(90, 4), [f'c{i // 6}' for i in range(90)], val=0)\n"
    )
    assert main(["tasks", str(run.folder), "--import", str(tmp_path / "nothing_held_out.py")]) > 0
    assert "nothing is held out" in " ".join(capsys.readouterr().err.split())
    assert not (run.folder / "tasks.json").exists()


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for c in range(9):
        (tmp_path / "data" / f"c{c}").mkdir(parents=True)
    config = replace(qs.recipes.demo_glyphs(), iterations=1, validation_episodes=2, ways=2, queries=2)
    with torch.random.fork_rng():
        source = qs.tasks.arrays(torch.rand(90, 1, 28, 28), [f"c{i // 10}" for i in range(90)])
    (tmp_path / "own.py").write_text(
        "import torch, quickstudy as qs\ntorch.manual_seed(0)\n"
        "def source(): return qs.tasks.arrays(torch.rand(90, 1, 28, 28), [f'c{i // 10}' for i in range(90)])\n"
    )
    run = qs.train(replace(config, train_ways=2, train_queries=2), out=tmp_path / "r", source=source, quiet=True)
    counts = ["--episodes", "2", "--draws", "2", "--most", "3"]
    words = ["tasks", str(run.folder), *counts, "--import", str(tmp_path / "own.py")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "helps most" in said.out and "hold for all 3 at once (Bonferroni)" in " ".join((said.out + said.err).split())
    told = json.loads((run.folder / "tasks.json").read_text())
    assert len(told["train"]) == 3 and set(told["change"][told["train"][0]]) == set(told["held"])

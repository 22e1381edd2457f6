"""Which training classes help which held-out ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import ConfigError
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
    found = influence(parts.training_engine, run.params, parts.training, (parts.source, "val"), 24, 0.05)
    assert found.train == ("good", "odd") and len(found.held) == 6  # one group is held out: its classes
    good, odd = found.total["good"], found.total["odd"]
    assert good.mean + good.ci95 < 0 < odd.mean - odd.ci95
    assert found.hurting == ["odd"] and set(found.held_loss) == set(found.held) and set(found.loss) == {"good", "odd"}
    small = influence(parts.training_engine, run.params, parts.training, (parts.source, "val"), 24, 0.001)
    ratio = found.total["odd"].mean / small.total["odd"].mean
    assert ratio == pytest.approx(50, rel=0.5)  # to first order in the length of the step


def test_tasks_of_no_known_domain_are_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "r", domains())
    sinusoid = qs.tasks.sinusoid()
    with pytest.raises(ConfigError, match="Nothing tells"):
        influence(run.parts.training_engine, run.params, sinusoid, (sinusoid, "val"))


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
    words = ["tasks", str(run.folder), "--episodes", "2", "--most", "3", "--import", str(tmp_path / "own.py")]
    assert main(words) == 0
    assert "helps most" in capsys.readouterr().out
    told = json.loads((run.folder / "tasks.json").read_text())
    assert len(told["train"]) == 3 and set(told["change"][told["train"][0]]) == set(told["held"])

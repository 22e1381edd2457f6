"""Runs on several domains: a row for each, and features of a frozen encoder that are kept for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.engine import kept
from quickstudy.evaluation.estimate import Estimate
from quickstudy.registry import learners
from quickstudy.tasks import Domains, arrays
from quickstudy.tasks.classes import ClassSource


def rows(classes: int, seed: int, spread: float) -> ClassSource:
    generator = torch.Generator().manual_seed(seed)
    y = [i % classes for i in range(classes * 10)]
    centres = torch.randn(classes, 4, generator=generator)
    return arrays(centres[y] + spread * torch.randn(len(y), 4, generator=generator), y)


def three() -> Domains:
    members = {"easy": rows(15, 0, 0.1), "hard": rows(15, 1, 2.0), "new": rows(6, 2, 0.3).only_for("test")}
    return Domains(members=members, held={"new": "test"})


def config(**options: Any) -> qs.RunConfig:
    return qs.RunConfig(
        name="domains", learner=learners.part("protonet"), ways=3, shots=2, queries=3, iterations=0,
        validation_episodes=4, device="cpu", **options,
    )  # fmt: skip


def test_evaluation_tells_of_each_domain_and_their_mean(tmp_path: Path) -> None:
    run = qs.train(config(), module=nn.Identity(), source=three(), out=tmp_path / "run", quiet=True)
    whole = run.evaluate(episodes=20)
    assert list(whole.domains) == ["easy", "hard", "new"] and whole.episodes == 60 == len(whole.values)
    for name, member in run.parts.source.parts("test").items():
        alone = qs.Run(run.folder, nn.Identity(), member).evaluate(episodes=20, compare_supports=False)
        assert whole.domains[name] == Estimate(alone.mean, alone.ci95, 20), "the same tasks as of the domain itself"
    parts = whole.domains.values()
    assert whole.mean == pytest.approx(sum(one.mean for one in parts) / 3)
    assert whole.ci95 == pytest.approx(sum(one.ci95**2 for one in parts) ** 0.5 / 3)
    assert whole.domains["easy"].mean > whole.domains["hard"].mean + 0.2
    assert whole.baseline is not None and whole.baseline.mean == pytest.approx(1 / 3, abs=1e-6)
    assert whole.support is not None and whole.support.tasks == 60
    again = qs.Result.from_json(whole.to_json())
    assert again.domains == whole.domains and again.mean == whole.mean
    assert list(run.evaluate(split="val", episodes=2).domains) == ["easy", "hard"]


class Counting(nn.Module):
    """A frozen encoder that counts the examples it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 6), [0]

    def forward(self, x: Tensor) -> Tensor:
        self.seen[0] += len(x)
        return self.layer(x).relu()


def test_features_of_all_domains_are_kept(tmp_path: Path) -> None:
    encoder = Counting()
    module = nn.Sequential(encoder, nn.Linear(6, 6))
    module[0].requires_grad_(False)
    source = three()
    run = qs.train(replace(config(), iterations=3), module=module, source=source, out=tmp_path / "run", quiet=True)
    engine, changed = kept.on_features(run.parts.engine, run.params, run.parts.source)
    assert isinstance(changed, Domains) and changed.spec.format.input_shape == (6,)
    indices = torch.arange(9)
    for split in ("train", "test"):
        direct = run.parts.engine.predictions(run.params, run.parts.source.episodes(split, indices))
        through = engine.predictions(run.params, changed.episodes(split, indices))
        assert torch.allclose(direct, through, atol=1e-5)


def test_a_command_trains_on_domains_and_prints_a_row_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, classes in (("tiles", 8), ("signs", 3)):
        for c in range(classes):
            (folder := tmp_path / name / f"class{c}").mkdir(parents=True)
            for i in range(6):
                pixels = np.random.default_rng((c, i)).integers(20 * c, 20 * c + 40, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    words = ["--tasks", "domains", "--tasks.domains", "tiles=tiles", "signs=signs", "--tasks.held-out", "signs"]
    size = ["--tasks.options", "size", "8", "--ways", "2", "--shots", "1", "--queries", "2", "--iterations", "2"]
    small = ["--model", "mlp", "--validation-episodes", "2", "--train-ways", "2", "--device", "cpu"]
    assert main(["train", "photos", *words, *size, *small, "--train-support", "5", "--train-shots", "3"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "photos", "--episodes", "4", "--out", "result.json"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("tiles", "signs")] == ["tiles", "signs"]
    assert any(line[:4] == ["mean", "of", "2", "domains,"] for line in lines)

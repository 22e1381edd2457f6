"""An average of runs is a run like its members."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import blobs, class_run

from quickstudy.averaging import mean, no_worse, verdict
from quickstudy.averaging.runs import average_runs
from quickstudy.cli import main
from quickstudy.errors import ConfigError, DataError, ModelError
from quickstudy.registry import sources
from quickstudy.runs.run import Run
from quickstudy.runs.train import train


def test_the_average_of_runs_with_a_network_and_tasks_of_ones_own_can_be_used(tmp_path: Path) -> None:
    config, module, source = class_run("protonet"), torch.nn.Linear(8, 4), blobs()
    runs = [train(config, out=tmp_path / name, module=module, source=source, quiet=True) for name in ("a", "b")]
    a, b = (str(run.folder) for run in runs)
    averaged = average_runs(runs, tmp_path / "mean", "mean", {b: 1.0, a: 3.0})
    assert averaged.run.evaluate(episodes=4).mean > 1 / 3
    for name, value in averaged.run.params.items():
        expected = 0.75 * runs[0].params[name] + 0.25 * runs[1].params[name]
        torch.testing.assert_close(value, expected)
    with pytest.raises(ConfigError, match="no weight for"):
        average_runs(runs, tmp_path / "other", "mean", {a: 1.0})


def unlike(tmp_path: Path) -> list[Run]:
    """Two runs of one network from different starts, whose hidden units stand for different things."""
    config, source = class_run("protonet", iterations=60, validate_every=20, lr=0.01), blobs()
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        module = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        run = train(replace(config, seed=seed), out=tmp_path / f"run-{seed}", module=module, source=source, quiet=True)
        runs.append(run)
    return runs


def test_an_average_that_is_worse_than_its_best_member_is_refused(tmp_path: Path) -> None:
    runs = unlike(tmp_path)
    with pytest.raises(ModelError, match=r"worse than '.*run-\d' by .* held-out tasks .* even_if_worse"):
        average_runs(runs, tmp_path / "mean", "mean")
    assert not (tmp_path / "mean" / "model.safetensors").exists()
    told = average_runs(runs, tmp_path / "mean", "mean", even_if_worse=True)
    assert told.verdict is not None and told.verdict.worse and told.run.evaluate(episodes=4)
    soup = average_runs(runs, tmp_path / "soup")
    assert len(soup.members) == 1, "a soup leaves out what makes it worse"
    assert soup.verdict is None or soup.verdict.worse


def test_where_no_task_is_at_hand_it_is_said_that_nothing_was_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{i % 9 - 4},{i % 7},{i % 20}" for i in range(400)]
    Path("rows.csv").write_text("\n".join(["a,b,label", *lines]))
    tasks = sources.part("table_csv", path="rows.csv")
    config = class_run("protonet", tasks=tasks, iterations=2, validate_every=2)
    runs = [train(replace(config, name=name), quiet=True) for name in ("a", "b")]
    Path("rows.csv").unlink()
    runs = [Run(run.folder) for run in runs]
    averaged = average_runs(runs, "mean", "mean")
    assert "Not checked" in caplog.text and "rows.csv" in averaged.unchecked and averaged.verdict is None
    for name, value in Run("mean").params.items():
        torch.testing.assert_close(value, (runs[0].params[name] + runs[1].params[name]) / 2)
    model = Run("mean").adapt(torch.randn(4, 2), list("aabb"))
    assert len(model.predict(torch.randn(3, 2))) == 3
    assert main(["list", "runs"]) == 0
    with pytest.raises((ConfigError, DataError), match="rows.csv"):
        average_runs(runs, "soup", "greedy")


def test_a_difference_is_paired_and_told() -> None:
    tasks = torch.linspace(-1, 1, 50)
    members = {"left": {"w": torch.tensor([-1.0])}, "right": {"w": torch.tensor([1.5])}}
    values = lambda model: 10 * tasks - (model["w"] - 0.2 + tasks / 100).square()  # noqa: E731
    good = no_worse(mean(members), members, values)
    assert good.best == "left" and not good.worse and good.sure
    assert good.difference.ci95 < 0.05, "what tasks have in common is no uncertainty"
    bad = verdict({"w": torch.tensor([9.0])}, members, values)
    assert bad.worse and bad.sure and "worse than 'left' by 7" in str(bad)
    with pytest.raises(ModelError, match="greedy soup"):
        no_worse({"w": torch.tensor([9.0])}, members, values)
    with pytest.raises(ConfigError, match="2 or more"):
        verdict(mean(members), members, lambda model: model["w"])

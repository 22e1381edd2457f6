"""An average of runs is a run like its members."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_runs import blobs, class_run

from quickstudy.averaging.runs import average_runs
from quickstudy.errors import ConfigError
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

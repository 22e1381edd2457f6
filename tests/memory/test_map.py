"""The map of a bank tells how well its tasks were learned in the words of their metric."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from quickstudy.memory.entry import Entry
from quickstudy.memory.map import write_map


def bank(metric: str) -> Any:
    """Twelve tasks in two groups; the values of `metric` rise from 0.30 to 0.41."""
    generator = torch.Generator().manual_seed(0)
    entries = [
        Entry(
            name=f"{'north' if i % 2 else 'south'} {i}", signature="a", base="ab", learner="maml", codec="float32",
            descriptor=torch.randn(5, generator=generator), metrics={metric: 0.30 + 0.01 * i},
        )
        for i in range(12)
    ]  # fmt: skip
    return SimpleNamespace(uri="bank", entries=lambda: entries, phi=SimpleNamespace(ids=lambda: ["ab"]))


@pytest.mark.parametrize(
    ("metric", "axis", "column", "last"),
    [
        ("accuracy", "accuracy (%)", "accuracy", "41.0 %"),
        ("mse", "mean squared error", "MSE", "0.410"),
    ],
)
def test_the_map_names_the_metric_of_its_tasks(tmp_path: Path, metric: str, axis: str, column: str, last: str) -> None:
    page = write_map(bank(metric), tmp_path / "map.html").read_text()
    grown = page.split("<h2>Task after task</h2>")[1].split("<h2>")[0]
    assert axis in grown and "mean of 3" in grown
    table = page.split("<h2>Nearest neighbours</h2>")[1]
    assert f">{column}</td>" in table and f">{last}</td>" in table


def test_figures_that_no_target_knows_are_left_out(tmp_path: Path) -> None:
    page = write_map(bank("of my own"), tmp_path / "map.html").read_text()
    assert "Task after task" not in page and "0.41" not in page

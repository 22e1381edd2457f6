"""Runs that estimators learn from: those of the package, or else small ones of the same recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import quickstudy as qs
from quickstudy.registry import recipes


def small_run(name: str, folder: Path) -> str:
    """A run of a recipe of tables, hardly trained: what it knows is what ridge and kernel regressions tell it."""
    config = recipes[name]()
    options = config.learner.options | {"width": 8, "layers": 1, "heads": 2}
    small = replace(
        config, learner=replace(config.learner, options=options), shots=20, queries=10, train_shots=20, min_shots=10,
        precision="float32", device="cpu", average=0.0, iterations=4, meta_batch=2, validation_episodes=4,
        validate_every=2,
    )  # fmt: skip
    qs.train(small, out=folder / name, quiet=True)
    return str(folder / name)


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a run on tables and classes, of at most ten."""
    return small_run("tables", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a run on tables and numbers."""
    return small_run("tables-numbers", tmp_path_factory.mktemp("runs"))

"""The programs behind the pages of figures: all can be started, and the study of lines forecasts as users do."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

import benchmarks
import quickstudy as qs
import studies
from quickstudy.learners import GradientLearner
from quickstudy.tasks.series import SeriesSource
from studies import lines


@pytest.mark.parametrize("package", [benchmarks, studies], ids=lambda package: package.__name__)
def test_every_program_finds_what_it_imports(package: ModuleType) -> None:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def test_lines_are_continued_as_by_a_model_that_a_user_adapts(tmp_path: Path) -> None:
    small = replace(qs.recipes.lines_lstm(), iterations=1, validate_every=1, validation_episodes=2, compile="off")
    run = qs.train(small, out=tmp_path / "run", quiet=True)
    source, learner = run.parts.source, run.learner.evaluated()
    assert isinstance(source, SeriesSource) and isinstance(learner, GradientLearner)
    together = lines.continued(learner, run.params, source, "test", 2)
    seen = source.values("test", torch.arange(2))[:, : lines.SEEN]
    each = [run.adapt(one).predict(one, steps=lines.NEXT).prediction for one in seen]
    torch.testing.assert_close(together, torch.stack(each).to(together), rtol=1e-4, atol=1e-5)

"""Learning a series and forecasting it, from training to a stored model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.episode import Examples
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.registry import learners, models, sources
from quickstudy.runs.run import Run
from quickstudy.targets.answers.numbers import NumberAnswer


def small(**options: object) -> qs.RunConfig:
    config = replace(
        qs.recipes.lines_lstm(),
        tasks=sources.part("series", kind="lines", window=6, normalise=True),
        model=models.part("lstm", width=12),
        learner=learners.part("maml", lr=0.05, steps=2),
        iterations=150,
        lr=0.01,
        meta_batch=8,
        validation_episodes=20,
        validate_every=150,
        compile="off",
        vectorize="vmap",
    )
    return replace(config, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return qs.train(replace(small(), device="cpu"), out=tmp_path_factory.mktemp("runs") / "lines", quiet=True)


def test_a_trained_model_continues_lines_in_their_own_units(run: Run) -> None:
    line = 2000.0 - 30.0 * torch.arange(10)
    trained, fresh = run.adapt(line[:5]), replace(run.adapt(line[:5]), params=run.untrained())
    fresh = replace(fresh, state=fresh.learner.adapt(fresh.params, seen_examples(line[:5], run.spec.format)))
    found, start = ((forecast(model, line[:5], 5) - line[5:]).square().mean() for model in (trained, fresh))
    assert forecast(trained, line[:5], 5).shape == (5,)
    assert found < start / 10


def seen_examples(values: Any, format: Any) -> Examples:
    """The support set of the seen values of one series."""
    stored = format.store(values).x
    x, y = format.examples(stored, None, format.prepare(stored))
    return Examples(x, y, torch.ones(len(y), dtype=torch.bool))


def forecast(model: qs.Model, seen: Any, steps: int) -> Tensor:
    """The next `steps` values."""
    answer = model.predict(seen, steps=steps)
    assert isinstance(answer, NumberAnswer)
    return answer.values


def test_forecasts_follow_the_units_of_the_series(run: Run) -> None:
    seen = torch.tensor([0.3, 1.0, 0.2, 2.0, 1.5], dtype=torch.float64)
    model = run.adapt(seen)
    plain = forecast(model, seen, 4)
    moved = forecast(run.adapt(-4000 * seen + 1e6), -4000 * seen + 1e6, 4)
    turned = forecast(run.adapt(-seen), -seen, 4)
    torch.testing.assert_close(moved, 4000 * turned + 1e6, atol=1e-1, rtol=0)
    torch.testing.assert_close(forecast(model, seen, 6)[:4], plain)
    # What has come since is in the units that were learned in: had it been as forecast, the rest would be the same.
    torch.testing.assert_close(forecast(model, torch.cat([seen, plain[:1]]), 3), plain[1:])


def test_long_lists_of_large_numbers_keep_their_digits(run: Run) -> None:
    seen = [1.7e9 + 0.1 * i for i in range(5)]
    listed = seen_examples(seen, run.spec.format)
    exact = seen_examples(torch.tensor(seen, dtype=torch.float64), run.spec.format)
    assert torch.equal(listed.y, exact.y)
    torch.testing.assert_close(listed.y[:, 0].diff(), torch.full((3,), 2**-0.5), atol=1e-4, rtol=0)
    with pytest.raises(DataError, match="must be numbers"):
        run.adapt(torch.tensor([1j, 2.0, 3.0]))


def test_a_stored_model_forecasts_the_same(run: Run, tmp_path: Path) -> None:
    seen = [3.0, 4.0, 5.5, 7.0]
    model = run.adapt(seen)
    model.save(tmp_path / "model")
    again = qs.load(tmp_path / "model")
    assert again.learner.spec == model.learner.spec
    assert torch.equal(forecast(again, seen, 3), forecast(model, seen, 3))
    assert torch.equal(forecast(Run(run.folder).adapt(seen), seen, 3), forecast(model, seen, 3))


def test_what_cannot_be_forecast_is_refused(run: Run, tmp_path: Path) -> None:
    model = run.adapt([1.0, 2.0, 3.0])
    for wrong, message in (([1.0], "at least 2 points, found 1"), ([1.0, float("nan")], "hold nan at position 1")):
        with pytest.raises(DataError, match=message):
            forecast(model, wrong, 2)
        with pytest.raises(DataError, match=message):
            run.adapt(wrong)
    with pytest.raises(ConfigError, match="steps is 0, expected 1 to 100,000"):
        forecast(model, [1.0, 2.0], 0)
    other = small(tasks=sources.part("sinusoid"), model=models.part("mlp"), iterations=1)
    sine = qs.train(other, out=tmp_path / "sine", quiet=True)
    with pytest.raises(ShapeError, match="give them as a column"):
        sine.adapt([1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match="takes no 'steps'"):
        sine.adapt(torch.zeros(2, 1), torch.zeros(2, 1)).predict([[1.0], [2.0]], steps=1)


def test_a_context_beside_a_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'cavia' puts a context beside vectors and images, but the model 'lstm'"):
        qs.train(small(learner=learners.part("cavia")), out=tmp_path / "run", quiet=True)


def test_reptile_learns_with_rates_of_its_own(tmp_path: Path) -> None:
    config = small(learner=learners.part("reptile", lr=0.05, steps=5), optimizer="SGD", lr=0.3, iterations=100)
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    trained = run.evaluate(episodes=50, compare_supports=False).mean
    assert trained < run.evaluate(episodes=50, params=run.untrained(), compare_supports=False).mean / 2

"""A forecaster with the verbs that are usual for series."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone

import quickstudy as qs
from quickstudy.errors import ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.sklearn import FewShotForecaster

SEEN = 20.0 - 0.5 * np.arange(12)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = replace(
        qs.recipes.lines_lstm(), tasks=sources.part("series", kind="lines", window=6, normalise=True),
        model=models.part("lstm", width=6), learner=learners.part("maml", lr=0.05, steps=1), iterations=2, meta_batch=2,
        validation_episodes=2, validate_every=2, compile="off", vectorize="vmap", device="cpu",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "lines"
    qs.train(config, out=folder, quiet=True)
    return str(folder)


def test_it_forecasts_as_the_run_does(series: str) -> None:
    found = FewShotForecaster(series).fit(SEEN)
    answer: Any = qs.Run(series).adapt(SEEN).predict(SEEN, steps=4)
    said = found.predict(fh=[1, 2, 3, 4])
    np.testing.assert_allclose(said, answer.values.numpy(), rtol=1e-4)
    np.testing.assert_array_equal(found.predict(fh=3), said[2:3])
    np.testing.assert_array_equal(FewShotForecaster(series).fit(SEEN, fh=range(2, 5)).predict(), said[1:])
    assert (pickle.loads(pickle.dumps(found)).predict(fh=[1, 2, 3, 4]) == said).all()
    assert clone(found).get_params() == {"run": series, "device": None}


@pytest.mark.parametrize(
    ("index", "after"),
    [
        ("pd.RangeIndex(5, 29, 2)", [29, 33]),
        ("pd.date_range('2024-01-31', periods=12, freq='ME')", ["2025-01-31", "2025-03-31"]),
        ("pd.DatetimeIndex(list(pd.date_range('2024-03-01', periods=12)))", ["2024-03-13", "2024-03-15"]),
        ("pd.period_range('2024-01', periods=12, freq='M')", ["2025-01", "2025-03"]),
    ],
)
def test_forecasts_of_a_series_of_pandas_follow_its_index(series: str, index: str, after: list[Any]) -> None:
    pd = pytest.importorskip("pandas")
    y = pd.Series(SEEN, index=eval(index, {"pd": pd}))
    said = FewShotForecaster(series).fit(y).predict(fh=[1, 3])
    assert [str(one)[: len(str(there))] for one, there in zip(said.index, after, strict=True)] == list(map(str, after))
    np.testing.assert_array_equal(said.to_numpy(), FewShotForecaster(series).fit(SEEN).predict(fh=[1, 3]))


def test_what_cannot_be_forecast_is_refused(series: str, classes: str) -> None:
    found = FewShotForecaster(series).fit(SEEN)
    for fh in (0, [1, -1], 1.5, [], [[1]]):
        with pytest.raises(ConfigError, match="from 1 on"):
            found.predict(fh=fh)
    with pytest.raises(ConfigError, match="How far"):
        found.predict()
    with pytest.raises(ConfigError, match="Leave X out"):
        found.fit(SEEN, X=SEEN)
    with pytest.raises(ValueError, match="time series"):
        FewShotForecaster(classes).fit(SEEN)
    with pytest.raises(ValueError, match="nan at position 0"):
        found.fit(np.where(SEEN > 19, np.nan, SEEN))
    pd = pytest.importorskip("pandas")
    with pytest.raises(ConfigError, match="even distances"):
        found.fit(pd.Series(SEEN, index=np.arange(12) ** 2)).predict(fh=1)

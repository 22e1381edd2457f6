"""Estimators keep scikit-learn's conventions, by its own checks and within its own tools."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, make_blobs, make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import quickstudy as qs
from quickstudy.errors import ConfigError, RunError
from quickstudy.runs.run import Run
from quickstudy.sklearn import FewShotClassifier, FewShotRegressor

NOT_RUN = {"check_array_api_input": "scikit-learn runs it where SCIPY_ARRAY_API is set"}


def checked(estimator: Any) -> Iterator[tuple[str, str]]:
    for one in check_estimator(estimator, on_skip=None, on_fail=None):
        if one["status"] == "failed":
            raise AssertionError(one["check_name"]) from one["exception"]
        yield one["check_name"], one["status"]


@pytest.mark.parametrize("kind", [FewShotClassifier, FewShotRegressor])
def test_check_estimator_passes(kind: type, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue("classes" if kind is FewShotClassifier else "numbers")
    told = list(checked(kind(run)))
    left_out = {name for name, status in told if status != "passed"}
    assert len(told) > 40 and left_out <= ({} if os.environ.get("SCIPY_ARRAY_API") else NOT_RUN).keys()


def test_an_estimator_lives_in_pipelines_and_searches(classes: str) -> None:
    x, y = make_blobs(60, centers=3, n_features=4, random_state=0)
    whole = make_pipeline(StandardScaler(), FewShotClassifier(classes))
    assert cross_val_score(whole, x, y, cv=3).mean() > 0.9
    search = GridSearchCV(whole, {"fewshotclassifier__rows": [20, 1000]}, cv=3).fit(x, y)
    assert search.best_estimator_.predict_proba(x).shape == (60, 3)
    assert search.best_params_["fewshotclassifier__rows"] in (20, 1000)


def test_a_column_transformer_may_stand_before_it(classes: str) -> None:
    pd = pytest.importorskip("pandas")
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"size": draw.normal(size=40), "town": draw.choice(["Bonn", "Ulm", "Rom"], 40)})
    y = np.where(frame["town"] == "Ulm", "far", "near")
    code = make_column_transformer((OneHotEncoder(sparse_output=False), ["town"]), (StandardScaler(), ["size"]))
    coded = make_pipeline(code, FewShotClassifier(classes)).fit(frame, y)
    itself = FewShotClassifier(classes).fit(frame, y)
    assert coded.score(frame, y) == itself.score(frame, y) == 1.0


def test_a_run_itself_is_cloned_and_pickled_by_its_folder(classes: str) -> None:
    x, y = make_blobs(20, centers=2, random_state=0)
    run = Run(classes)
    mine = FewShotClassifier(run).fit(x, y)
    copy = clone(mine)
    assert copy.run is not run and copy.run.folder == run.folder
    assert b"params" not in pickle.dumps(copy)
    stored = pickle.dumps(mine)
    assert b"torch" not in stored, "no tensor is pickled"
    assert (pickle.loads(stored).predict_proba(x) == mine.predict_proba(x)).all()
    assert (copy.fit(x, y).predict_proba(x) == FewShotClassifier(classes).fit(x, y).predict_proba(x)).all()


def test_where_scikit_learn_is_missing_the_extra_is_named() -> None:
    program = "import sys; sys.modules['sklearn'] = None; import quickstudy.sklearn"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode and "quickstudy[sklearn]" in done.stderr


def test_a_regressor_of_a_learner_that_knows_no_spread_says_so(tmp_path: Path) -> None:
    config = replace(
        qs.recipes.demo_glyphs(), tasks=qs.registry.sources.part("sinusoid"), ways=1, train_ways=None, shots=5,
        queries=5, model=qs.registry.models.part("mlp", width=8),
        learner=qs.registry.learners.part("maml", lr=0.01, steps=1), iterations=2, meta_batch=2,
        validation_episodes=2, validate_every=2, device="cpu",
    )  # fmt: skip
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    x = np.linspace(-3, 3, 20)[:, None]
    found = FewShotRegressor(run).fit(x, np.sin(x[:, 0]))
    plain: Any = run.adapt(x, np.sin(x)).predict(x)
    np.testing.assert_allclose(found.predict(x), plain.values[:, 0].numpy(), atol=1e-5)
    with pytest.raises(ConfigError, match="does not say how sure"):
        found.predict(x, return_std=True)


def test_what_cannot_be_is_refused(classes: str, numbers: str) -> None:
    x, y = make_blobs(20, centers=2, random_state=0)
    with pytest.raises(ConfigError, match="FewShotRegressor"):
        FewShotClassifier(numbers).fit(x, y)
    with pytest.raises(ConfigError, match="FewShotClassifier"):
        FewShotRegressor(classes).fit(x, y)
    with pytest.raises(RunError, match="no run 'nowhere'"):
        FewShotClassifier("nowhere").fit(x, y)
    with pytest.raises(ConfigError, match="found ndarray"):
        FewShotClassifier(np.array([1.0])).fit(x, y)
    with pytest.raises(ValueError, match="one class"):
        FewShotClassifier(classes).fit(x, np.zeros(20))
    with pytest.raises(ValueError, match="No column of the table"):
        FewShotClassifier(classes).fit(np.ones((20, 2)), y)
    with pytest.raises(ConfigError, match="rows"):
        FewShotClassifier(classes, rows=0).fit(x, y)
    with pytest.raises(ConfigError, match="categories names 'town'"):
        FewShotClassifier(classes, categories=("town",)).fit(x, y)
    with pytest.raises(ConfigError, match="categories names 2, but there are 2 columns"):
        FewShotClassifier(classes, categories=(2,)).fit(x, y)
    with pytest.raises(TypeError, match="not 'dict'"):
        FewShotClassifier(classes).fit(np.array([[1.0], [{}]], dtype=object), [0, 1])


def test_on_breast_cancer_it_is_not_behind_logistic_regression_from_64_rows() -> None:
    """By the default model, where that is there."""
    x, y = load_breast_cancer(return_X_y=True)
    scores = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(x))
        some, rest = order[:64], order[64:264]
        try:
            ours = FewShotClassifier().fit(x[some], y[some])
        except RunError:
            pytest.skip("there is no model called 'tables' here")
        theirs = make_pipeline(StandardScaler(), LogisticRegression()).fit(x[some], y[some])
        scores.append([one.score(x[rest], y[rest]) for one in (ours, theirs)])
    found, beside = np.mean(scores, axis=0)
    assert found > 0.94 and found > beside - 0.01


def test_a_regressor_says_how_sure_it_is(numbers: str) -> None:
    x, y = make_regression(60, 5, noise=5.0, random_state=0)
    mean, spread = FewShotRegressor(numbers).fit(x[:40], y[:40]).predict(x[40:], return_std=True)
    assert mean.shape == spread.shape == (20,) and (spread > 0).all()
    moved, wide = FewShotRegressor(numbers).fit(x[:40], 1000 * y[:40] + 7).predict(x[40:], return_std=True)
    np.testing.assert_allclose(moved, 1000 * mean + 7, rtol=1e-4, atol=1e-2 * np.abs(y).max())
    np.testing.assert_allclose(wide, 1000 * spread, rtol=1e-4)

"""What estimators make of tables: of columns of several kinds, and larger than the network was built for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.datasets import make_blobs, make_regression

import quickstudy as qs
from quickstudy.runs.run import Run
from quickstudy.sklearn import FewShotClassifier, FewShotRegressor
from quickstudy.sklearn.codes import codebook, coupled
from quickstudy.sklearn.parts import dealt, telling
from quickstudy.targets.answers.classes import ClassAnswer


def mixed(count: int = 40) -> tuple[Any, Any]:
    """A frame of numbers, names, dates and gaps, and classes that follow from two of its columns."""
    pd = pytest.importorskip("pandas")
    draw = np.random.default_rng(1)
    size = draw.normal(100, 30, count)
    frame = pd.DataFrame(
        {
            "size": np.where(draw.random(count) < 0.1, np.nan, size), "label": draw.choice(["Bonn", "Ulm"], count),
            "sold": pd.Timestamp("2024-03-01") + pd.to_timedelta(draw.integers(0, 90, count), unit="D"),
            "postcode": draw.choice([53111, 89073, 10115], count),
        }
    )  # fmt: skip
    frame["postcode"] = frame["postcode"].astype("category")
    return frame, np.where((size > 100) ^ (frame["label"] == "Ulm"), "yes", "no")


def test_a_frame_is_read_as_a_run_reads_it(classes: str) -> None:
    frame, y = mixed()
    found = FewShotClassifier(classes).fit(frame, y)
    kinds = {column.name: column.kind for column in found.models_[0][0].spec.format.schema}
    assert kinds == {"size": "number", "label": "category", "sold": "date", "postcode": "category"}
    assert list(found.feature_names_in_) == list(frame) and list(found.classes_) == ["no", "yes"]
    run = Run(classes)
    plain = run.adapt(frame.rename(columns={"label": "town"}), y, categories=("postcode",), trust=False)
    answer = plain.predict(frame.rename(columns={"label": "town"}))
    assert isinstance(answer, ClassAnswer) and answer.classes == ("no", "yes")
    np.testing.assert_allclose(found.predict_proba(frame), answer.probabilities.numpy(), atol=1e-4)
    with pytest.raises(ValueError, match="feature names"):
        found.predict(frame[["label", "size", "sold", "postcode"]])


def test_arrays_of_objects_and_unnamed_frames_are_the_same_table(classes: str) -> None:
    frame, y = mixed()
    named = FewShotClassifier(classes).fit(frame, y).predict_proba(frame)
    cells = frame.astype(object).to_numpy()
    by_number = FewShotClassifier(classes, categories=(3,)).fit(cells, y).predict_proba(cells)
    frame.columns = range(4)
    unnamed = FewShotClassifier(classes).fit(frame, y).predict_proba(frame)
    np.testing.assert_allclose(by_number, named, atol=1e-9)
    np.testing.assert_allclose(unnamed, named, atol=1e-9)


def test_a_model_of_an_estimator_is_saved_and_loaded_like_any_other(classes: str, tmp_path: Path) -> None:
    frame, y = mixed()
    found = FewShotClassifier(classes).fit(frame, y)
    found.models_[0][0].save(tmp_path / "model")
    answer = qs.load(tmp_path / "model", device="cpu").predict(frame)
    assert isinstance(answer, ClassAnswer)
    np.testing.assert_array_equal(answer.probabilities.numpy(), found.predict_proba(frame))
    assert list(answer.classes) == [str(name) for name in found.classes_]
    again = FewShotClassifier(classes).fit(frame, np.where(y == found.classes_[0], "z", "b"))  # in the other order
    assert again.models_[0][0].names == tuple(again.classes_) == ("b", "z")


def test_classes_that_are_dealt_out_keep_their_mix_and_none_is_lost() -> None:
    classes = np.repeat([0, 1, 2], [60, 37, 2])
    parts = dealt(99, 25, np.random.RandomState(0), classes)
    assert len(parts) == 4 and all(len(part) <= 26 for part in parts)
    assert set(np.concatenate(parts)) == set(range(99))
    counts = np.array([np.bincount(classes[part], minlength=3) for part in parts])
    assert np.ptp(counts, axis=0)[:2].max() <= 1 and (counts[:, 2] == 1).all()
    many = dealt(600, 100, np.random.RandomState(0), np.repeat(np.arange(120), 5))
    assert all(len(part) == len(np.unique(part)) == 120 for part in many)
    assert set(np.concatenate(many)) == set(range(600))
    alike = dealt(99, 25, np.random.RandomState(0))
    assert sorted(np.concatenate(alike)) == list(range(99)) and max(map(len, alike)) == 25


def test_rows_beyond_what_one_model_reads_are_shared_by_several(classes: str, numbers: str) -> None:
    x, y = make_blobs(50, centers=3, cluster_std=4.0, random_state=0)
    found = FewShotClassifier(classes, rows=20).fit(x, y)
    (shared,) = found.models_
    assert sum(model.provenance["support"] for model in shared) == 50 and len(shared) == 3
    each = [model.predict(x).probabilities.numpy() for model in shared]  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.predict_proba(x), np.mean(each, axis=0), atol=1e-12)
    x, y = make_regression(50, 3, noise=9.0, random_state=0)
    sure = FewShotRegressor(numbers, rows=25).fit(x, y)
    mean, spread = sure.predict(x, return_std=True)
    both = [model.predict(x) for model in sure.models_[0]]
    values, spreads = (np.stack([getattr(one, name)[:, 0].numpy() for one in both]) for name in ("values", "spread"))
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(spread**2, (spreads**2 + values**2).mean(0) - mean**2)  # the variance of a mixture


def test_columns_that_tell_are_found_whatever_they_hold() -> None:
    draw = np.random.default_rng(0)
    y = draw.normal(size=80)
    cells = np.zeros((80, 30, 3))
    cells[..., 0] = draw.normal(size=(80, 30))
    cells[:, 20:, 2] = 1 + draw.integers(0, 12, (80, 10))  # categories, of which many explain much by chance
    cells[:, 4, 0] = 3 * y + draw.normal(size=80)
    cells[:, 9, 0], cells[:, 9, 1] = 0, y > 1  # whether it is missing
    cells[:, 25, 2] = 1 + (y > 0)
    cells[:, 7] = 0
    assert telling(cells, y, 3).tolist() == [4, 9, 25]
    assert telling(cells[:, :20, 0], y, 1).tolist() == [4]
    classes = np.eye(3)[np.digitize(y, [-0.5, 0.5])]
    assert telling(cells, classes, 3).tolist() == [4, 9, 25]


def test_columns_beyond_what_is_read_are_said_and_make_no_difference(classes: str) -> None:
    x, y = make_blobs(40, centers=[[-3, -3, -3], [3, 3, 3]], random_state=0)
    wide = np.column_stack([np.random.default_rng(0).normal(size=(40, 9)), x])
    with pytest.warns(UserWarning, match="12 columns, and 3 are read"):
        found = FewShotClassifier(classes, columns=3).fit(wide, y)
    assert found.n_features_in_ == 12 and set(found.columns_) <= {9, 10, 11}
    other = wide.copy()
    other[:, :9] = 77.0
    np.testing.assert_array_equal(found.predict_proba(other), found.predict_proba(wide))
    np.testing.assert_array_equal(
        found.predict_proba(wide),
        FewShotClassifier(classes).fit(wide[:, found.columns_], y).predict_proba(wide[:, found.columns_]),
    )


def test_categories_stay_categories_where_columns_are_chosen(classes: str) -> None:
    draw = np.random.default_rng(0)
    cells = draw.integers(0, 4, (60, 6)).astype(float)
    y = np.isin(cells[:, 4], (0, 3))  # which no order of the four tells
    with pytest.warns(UserWarning, match="6 columns, and 2 are read"):
        found = FewShotClassifier(classes, columns=2, categories=(0, 4)).fit(cells, y)
    assert 4 in found.columns_
    kinds = [column.kind for column in found.models_[0][0].spec.format.schema]
    assert kinds == ["category" if i in (0, 4) else "number" for i in found.columns_]
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(cells, columns=list("abcdef"))
    with pytest.warns(UserWarning, match="6 columns, and 2 are read"):
        named = FewShotClassifier(classes, columns=2, categories=("a", "e")).fit(frame, y)
    np.testing.assert_allclose(named.predict_proba(frame), found.predict_proba(cells), atol=1e-12)


@pytest.mark.parametrize(("count", "limit"), [(11, 10), (26, 10), (40, 10), (7, 2), (200, 10)])
def test_codes_set_any_two_classes_apart_three_times(count: int, limit: int) -> None:
    codes = codebook(count, limit, np.random.RandomState(0))
    apart = (codes[:, :, None] != codes[:, None]).sum(0) + 9 * np.eye(count)
    assert apart.min() >= 3 and codes.max() == limit - 1
    assert all(np.ptp(np.bincount(code)) <= 1 for code in codes)


def test_probabilities_of_classes_follow_from_those_of_groups() -> None:
    draw = np.random.default_rng(0)
    codes = codebook(12, 5, np.random.RandomState(0))
    true = draw.dirichlet(np.full(12, 0.3), size=20)
    said = [true @ np.eye(5)[code] for code in codes]
    found = coupled(said, codes)
    np.testing.assert_allclose(found.sum(1), 1)
    assert np.abs(found - true).max() < 0.02 and (found.argmax(1) == true.argmax(1)).all()
    assert coupled([true], codebook(12, None, np.random.RandomState(0))) is not None
    np.testing.assert_array_equal(coupled([true], np.arange(12)[None]), true)


def test_more_classes_than_the_network_tells_apart(classes: str) -> None:
    x, y = make_blobs(26 * 6, centers=26, n_features=6, center_box=(-40, 40), random_state=0)
    names = np.array([f"class {i:02}" for i in range(26)])
    train = np.arange(len(y)) % 3 > 0
    found = FewShotClassifier(classes).fit(x[train], names[y[train]])
    assert found.codes_.shape[0] > 1 and found.codes_.max() == 9
    said = found.predict_proba(x[~train])
    np.testing.assert_allclose(said.sum(1), 1)
    assert (found.predict(x[~train]) == names[y[~train]]).mean() > 0.9
    assert (found.classes_[said.argmax(1)] == found.predict(x[~train])).all()


def test_a_run_on_tables_of_numbers_alone_takes_no_gaps_and_few_columns(tmp_path: Path) -> None:
    source = qs.tasks.arrays(np.random.default_rng(0).normal(size=(90, 5)), [i % 9 for i in range(90)])
    config = replace(
        qs.recipes.demo_glyphs(), learner=qs.registry.learners.part("protonet"), ways=2, train_ways=2, queries=2,
        iterations=2,
        model=qs.registry.models.part("mlp", width=8), validation_episodes=2, validate_every=1, device="cpu",
    )  # fmt: skip
    run = qs.train(config, source=source, out=tmp_path / "run", quiet=True)
    x, y = make_blobs(30, centers=2, n_features=5, random_state=0)
    found = FewShotClassifier(run).fit(x, y)
    assert found.predict_proba(x).shape == (30, 2) and not found.__sklearn_tags__().input_tags.allow_nan
    x[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        found.predict(x)
    wide, y = make_blobs(30, centers=2, n_features=8, random_state=0)
    with pytest.warns(UserWarning, match="8 columns, and 5 are read"):
        assert len(FewShotClassifier(run).fit(wide, y).columns_) == 5
    with pytest.raises(ValueError, match="trained on"):
        FewShotClassifier(run).fit(x[:, 1:4], [i % 2 for i in range(30)])


def test_a_run_on_a_table_of_ones_own_finds_its_columns_by_name(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(90, 3)), columns=["a", "b", "c"])
    frame["part"] = [f"part {i % 9}" for i in range(90)]
    frame.to_csv(tmp_path / "parts.csv", index=False)
    config = replace(
        qs.recipes.rows(), tasks=qs.registry.sources.part("table_csv", path=str(tmp_path / "parts.csv"), label="part"),
        ways=2, train_ways=2, shots=2, queries=2, iterations=2, validation_episodes=2, validate_every=2, device="cpu",
    )  # fmt: skip
    run = qs.train(config, out=tmp_path / "run", quiet=True)
    x, y = frame[["a", "b", "c"]][:20], frame["part"][:20]
    said = FewShotClassifier(run).fit(x, y).predict_proba(x)
    other = frame[["c", "a", "b"]][:20].assign(d=1.0)
    np.testing.assert_array_equal(FewShotClassifier(run).fit(other, y).predict_proba(other), said)

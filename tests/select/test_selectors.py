"""Selectors: closed forms on scenarios made up, and forests that two programs agree on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from select_scenarios import made_up

from quickstudy.errors import CheckpointError, DataError, RunError, ShapeError
from quickstudy.registry import selectors
from quickstudy.select import Scenario, Selection, fit
from quickstudy.select.base import filled, fit_columns
from quickstudy.select.forest import asked, grow, planted

pytest.importorskip("sklearn")
FEW = {"per-algorithm": {"trees": 12}, "pairwise": {"trees": 12}, "survival": {"trees": 12, "leaf": 3, "tried": "all"},
       "neighbours": {"nearest": 5}, "single-best": {}, "shared-forest": {"trees": 40},
       "ensemble": {"members": ("shared-forest trees 40", "neighbours nearest 5")}}  # fmt: skip


def few(name: str) -> Selection:
    return fit(selectors.part(name, **FEW.get(name, {})), made_up())


@pytest.mark.parametrize("name", [name for name in selectors if not selectors.traits(name).blind])
def test_each_selector_finds_what_decides(name: str) -> None:
    asked_ = made_up(200, seed=1)
    known = ~np.isnan(asked_.x[:, 0]) & (np.abs(asked_.x[:, 0]) > 0.3)
    best = asked_.penalised()[known].argmin(axis=1)
    right = (few(name).chosen(asked_.x[known]) == best).mean()
    assert right > 0.9, right


@pytest.mark.parametrize("name", selectors)
def test_selectors_are_functions_of_the_scenario_and_the_seed(name: str) -> None:
    x = made_up(20, seed=2).x
    np.testing.assert_array_equal(few(name).scores(x), few(name).scores(x))
    rows = np.concatenate([few(name).scores(x[:7]), few(name).scores(x[7:])])
    np.testing.assert_allclose(rows, few(name).scores(x), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in selectors if not selectors.traits(name).blind])
def test_units_of_features_do_not_matter(name: str) -> None:
    scenario, x = made_up(), made_up(20, seed=2).x
    scale, shift = np.array([8.0, 0.25, 1024.0]), np.array([4.0, -2.0, 0.0])
    other = Scenario.of(
        scenario.x * scale + shift, scenario.times, cutoff=scenario.cutoff, algorithms=scenario.algorithms,
        features=scenario.features,
    )  # fmt: skip
    part = selectors.part(name, **FEW.get(name, {}))
    np.testing.assert_allclose(
        fit(part, other).scores(x * scale + shift), fit(part, scenario).scores(x), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("name", selectors)
def test_a_stored_selector_chooses_alike(name: str, tmp_path: Path) -> None:
    selection, x = fit(selectors.part(name, **FEW.get(name, {})), made_up(), presolve=2.0), made_up(20, seed=2).x
    selection.save(tmp_path / "kept.safetensors")
    again = Selection.load(tmp_path / "kept.safetensors")
    np.testing.assert_array_equal(again.scores(x), selection.scores(x))
    assert again.choose(x) == selection.choose(x)
    assert (again.schedule, again.part.settings()) == (selection.schedule, selection.part.settings())
    assert (again.algorithms, again.features, again.cutoff) == (selection.algorithms, selection.features, 100.0)


def test_damaged_and_strange_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    few("neighbours").save(path)
    with pytest.raises(RunError, match="There is no"):
        Selection.load(tmp_path / "other.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        Selection.load(path)


@pytest.mark.parametrize("tried", ["all", "sqrt", "log2"])
def test_forests_as_arrays_say_what_scikit_learn_says(tried: str) -> None:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    draw = np.random.default_rng(0)
    x, new = draw.normal(size=(80, 6)), draw.normal(size=(50, 6))
    x[:, 3] = np.round(x[:, 3])
    new[:10] = x[:10]  # which lie on thresholds' sides by a hair
    y = np.stack([x[:, 0] * x[:, 1], x[:, 2] + x[:, 3]], axis=1)
    share = {"all": 1.0}.get(tried, tried)
    size = {"trees": 9, "leaf": 2, "tried": tried, "seed": 3}
    theirs = RandomForestRegressor(9, min_samples_leaf=2, max_features=share, random_state=3).fit(x, y)
    ours = asked(planted([grow(x, y, **size), grow(x, y[:, ::-1], **size)]), new)  # type: ignore[arg-type]
    np.testing.assert_allclose(ours[:, 0], theirs.predict(new), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours[:, 1], ours[:, 0, ::-1], rtol=1e-5, atol=1e-6)
    labels, weights = (y[:, 0] > 0).astype(float), draw.random(80)
    classifier = RandomForestClassifier(9, min_samples_leaf=2, max_features=share, random_state=3)
    classifier.fit(x, labels, sample_weight=weights)
    shares = asked(planted([grow(x, labels[:, None], weights=weights, **size)]), new)[:, 0, 0]  # type: ignore[arg-type]
    assert np.abs(shares - classifier.predict_proba(new)[:, 1]).mean() < 0.1


def test_a_survival_forest_of_one_leaf_is_the_kaplan_meier_estimate() -> None:
    scenario = made_up(40)
    x = np.zeros((40, 1))
    x[0] = 1e-3  # nothing to split by, with so many in a leaf
    flat = Scenario.of(x, np.where(scenario.finished, scenario.times, np.inf), cutoff=100.0)
    draws = 400
    selection = fit(selectors.part("survival", trees=draws, leaf=21), flat)
    means = flat.penalised().mean(axis=0)
    spread = flat.penalised().std(axis=0) / np.sqrt(40 * draws)
    assert (np.abs(selection.scores(x[:1])[0] - means) <= 4 * spread + 1e-2).all()
    expected = {"par2": 200.0, "expectation": 100.0, "unfinished": 1.0}
    for risk, at_cutoff in expected.items():
        score = fit(selectors.part("survival", risk=risk, trees=3), flat).scores(x[:1])
        assert score[0, 1] == pytest.approx(at_cutoff)  # of the algorithm that never finishes


def test_neighbours_by_hand() -> None:
    scenario = Scenario.of([[0.0], [1.0], [10.0]], [[1, 9], [2, 8], [np.inf, 3]], cutoff=50)
    scores = fit(selectors.part("neighbours", nearest=2), scenario).scores([[0.4], [9.0]])
    np.testing.assert_allclose(scores, [[1.5, 8.5], [251.0, 5.5]])


def test_missing_features_are_the_mean() -> None:
    x = np.array([[1.0, np.nan, np.nan], [3.0, np.nan, 5.0]])
    columns = fit_columns(x)
    np.testing.assert_allclose(filled(columns, x), [[-1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(filled(columns, np.array([[np.nan, 7.0, 5.0]])), [[0, 7, 0]])
    same = np.full((7, 1), 0.1)  # whose mean is not 0.1
    np.testing.assert_allclose(filled(fit_columns(same), same), 0, atol=1e-12)


@pytest.mark.parametrize("name", selectors)
def test_ties_go_to_the_better_on_average_and_never_to_what_never_finishes(name: str) -> None:
    times = np.array([[np.inf, 4.0, 4.0], [np.inf, 5.0, 5.0], [np.inf, np.inf, np.inf], [np.inf, 3.0, 3.0]])
    scenario = Scenario.of(np.eye(4), times, cutoff=10, algorithms=("a", "b", "c"))
    part = selectors.part(name, **FEW.get(name, {}))
    assert set(fit(part, scenario).choose(np.vstack([np.eye(4), np.full((1, 4), np.nan)]))) == {"b"}


@pytest.mark.parametrize("name", selectors)
def test_one_algorithm_is_chosen_always(name: str) -> None:
    scenario = Scenario.of(np.eye(3), [[1.0], [2.0], [np.inf]], cutoff=10)
    assert set(fit(selectors.part(name), scenario).choose(np.eye(3))) == {"algorithm 0"}


@pytest.mark.parametrize("name", selectors)
def test_measures_without_a_cutoff_should_be_small(name: str) -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    scenario = Scenario.of(x, np.concatenate([-x, x], axis=1))
    part = selectors.part(name, **FEW.get(name, {}))
    found = fit(part, scenario).chosen([[-0.9], [0.9]]).tolist()
    assert found == [1, 0] or (name == "single-best" and found[0] == found[1])


def test_what_cannot_be_chosen_by_is_refused() -> None:
    with pytest.raises(DataError, match="No algorithm finishes any instance"):
        Scenario.of([[1.0]], [[np.inf, np.inf]], cutoff=5)
    with pytest.raises(DataError, match=r"algorithm 1 on instance 0 is NaN"):
        Scenario.of([[1.0]], [[1.0, np.nan]], cutoff=5)
    with pytest.raises(DataError, match="feature 0' of instance 0 is infinite"):
        Scenario.of([[np.inf]], [[1.0]], cutoff=5)
    with pytest.raises(DataError, match=r"algorithm 0 finished instance 0 of scenario in -1"):
        Scenario.of([[0.0]], [[-1.0]], cutoff=5)
    with pytest.raises(DataError, match="has no features"):
        Scenario.of(np.zeros((2, 0)), [[1.0], [2.0]], cutoff=5)
    with pytest.raises(ShapeError, match=r"x of scenario has the shape \(2, 1\), expected \(1, 1\)"):
        Scenario.of([[0.0], [1.0]], [[1.0]], cutoff=5)
    unseen = Scenario.of([[np.nan], [np.nan]], [[1.0, 2.0], [3.0, 4.0]], cutoff=5)
    with pytest.raises(DataError, match="All features of all instances"):
        fit("neighbours", unseen)
    assert fit("single-best", unseen).choose([[np.nan]]) == ["algorithm 0"]
    with pytest.raises(ShapeError, match=r"shape \(1, 2\), expected \(instances, 3\): size, depth, noise"):
        few("neighbours").scores([[1.0, 2.0]])
    with pytest.raises(DataError, match="infinite"):
        few("neighbours").scores([[1.0, 2.0, np.inf]])

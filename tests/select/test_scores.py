"""Scores: the published convention by hand, and published figures where they are at hand."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from select_scenarios import made_up

from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import selectors
from quickstudy.select import Scenario, Slice, Step, fit, measure, played, presolvers, read_scenario


def test_the_single_best_scores_one_and_the_oracle_zero_exactly() -> None:
    scenario = made_up()
    times = scenario.times.copy()
    times[::7, 0] = 0.0  # below what clocks tell
    scenario = replace(scenario, times=times, finished=scenario.finished | (times == 0.0))
    for bootstrap in (False, True):
        found = measure(selectors.part("single-best"), scenario, bootstrap=bootstrap)
        assert [fold.npar10 for fold in found.folds] == [1.0] * 5
    oracle = [replace(fold, par10=fold.oracle).npar10 for fold in found.folds]
    assert oracle == [0.0] * 5


def test_a_fold_by_hand() -> None:
    """Two folds; in the second, one instance that nobody finishes, and one on which features cost too much."""
    times = [[1, 9], [8, 2], [3, 7], [np.inf, np.inf], [9.8, np.inf], [5, 4]]
    scenario = Scenario.of(
        [[0.0], [1.0], [0.0], [0.0], [0.0], [1.0]], times, cutoff=10, folds=np.array([1, 1, 2, 2, 2, 2]),
        steps={"all": Step(("feature 0",))}, costs=np.full((6, 1), 0.5),
    )  # fmt: skip
    second = measure(selectors.part("neighbours", nearest=1), scenario).folds[1]
    assert second.count == 3
    assert second.par10 == pytest.approx((3.5 + 100 + 4.5) / 3)
    assert second.oracle == pytest.approx((3 + 9.8 + 4) / 3)
    assert second.single == pytest.approx((3 + 9.8 + 5) / 3)  # 4.5 s against 5.5 s in the first fold
    assert second.finished == pytest.approx(2 / 3)
    assert second.npar10 == pytest.approx((second.par10 - second.oracle) / (1 / 3))


def test_penalties() -> None:
    scenario = Scenario.of([[0.0]], [[3, 11]], cutoff=10)
    assert [scenario.penalised(factor).tolist() for factor in (1, 2, 10)] == [[[3, 10]], [[3, 20]], [[3, 100]]]
    measured = Scenario.of([[0.0], [0.0]], [[-3, 2], [5, np.inf]])
    assert measured.penalised().tolist() == [[-3, 2], [5, 5]]


def test_a_schedule_by_hand() -> None:
    times = [[1, 20, 30], [20, 2, 30], [1, 20, 30], [30, 30, 5], [30, 2.5, 30]]
    scenario = Scenario.of(
        np.zeros((5, 1)), times, cutoff=40, steps={"all": Step(("feature 0",))}, costs=np.full((5, 1), 10.0)
    )
    assert presolvers(scenario, 4) == (Slice(0, 1.0), Slice(1, 2.5))
    assert presolvers(scenario, 4, most=1) == (Slice(0, 1.0),)
    assert presolvers(scenario, 0.5) == presolvers(scenario, 0) == ()
    chosen = np.array([0, 1, 2, 2, 2])
    late = np.array([1, 2, 0, 0, 0])
    schedule = presolvers(scenario, 4)
    assert played(scenario, chosen, schedule).tolist() == [1, 3, 1, 3.5 + 10 + 5, 3.5]
    assert played(scenario, chosen).tolist() == [11, 12, 40, 15, 40]
    assert played(scenario, late, schedule).tolist() == [1, 3, 1, 400, 3.5]
    assert played(scenario, chosen, free=True).tolist() == [1, 2, 30, 5, 30]


def test_a_selector_learns_from_what_presolvers_leave() -> None:
    scenario = made_up()
    whole, after = fit("single-best", scenario), fit("single-best", scenario, presolve=3.0)
    assert after.schedule and sum(one.seconds for one in after.schedule) <= 3.0
    assert after.means != whole.means
    with pytest.raises(ConfigError, match=r"Presolvers may run for 101 s, and runs are stopped after 100 s"):
        fit("single-best", scenario, presolve=101)
    with pytest.raises(ConfigError, match="expected a number from 0"):
        fit("single-best", scenario, presolve=-1)
    with pytest.raises(ConfigError, match="measures no time"):
        fit("single-best", Scenario.of([[0.0]], [[1.0]]), presolve=1)


def test_folds_that_tell_nothing_are_named() -> None:
    scenario = made_up()
    with pytest.raises(DataError, match="has 1 folds"):
        measure(selectors.part("single-best"), replace(scenario, folds=np.ones(60, dtype=np.int64)))
    alone = Scenario.of(np.zeros((4, 1)), [[1], [2], [3], [4]], cutoff=9, folds=np.array([1, 1, 2, 2]))
    found = measure(selectors.part("single-best"), alone)
    assert found.undefined == (1, 2)
    with pytest.raises(DataError, match="nothing to choose"):
        _ = found.npar10


def published(scenario: str, approach: str) -> tuple[Scenario, dict[int, float]]:
    place = Path(os.environ.get("QUICKSTUDY_DATA", "")) / "selection"
    if not (place / "aslib-npar10-published.csv").exists():
        pytest.skip("needs the published scenarios and figures, under $QUICKSTUDY_DATA")
    pytest.importorskip("yaml")
    with (place / "aslib-npar10-published.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["scenario"], row["approach"]) == (scenario, approach)]
    return read_scenario(place / "aslib" / f"{scenario}.zip"), {int(row["fold"]): float(row["npar10"]) for row in rows}


def test_published_neighbours_are_reproduced_fold_by_fold() -> None:
    """Without chance: the same sample of instances, and the same sixteen nearest of them."""
    scenario, figures = published("MAXSAT12-PMS", "sunny")
    found = measure(selectors.part("neighbours"), scenario, bootstrap=True)
    for fold in found.folds:
        assert fold.npar10 == pytest.approx(figures[fold.fold], abs=1e-3)


def test_a_shared_forest_beats_what_is_published() -> None:
    """The best of seven there is SATzilla'11; features that are another instance's bring nothing, so nothing leaks."""
    pytest.importorskip("sklearn")
    scenario, figures = published("MAXSAT12-PMS", "satzilla-11")
    part = selectors.part("shared-forest", trees=40)
    found = measure(part, scenario, plan=True)
    assert found.npar10.mean < 0.8 * sum(figures.values()) / len(figures)
    mixed = replace(scenario, x=scenario.x[np.random.default_rng(0).permutation(len(scenario.x))])
    assert measure(part, mixed).npar10.mean > 1.0

"""Plans: turns by hand, scores of instances as if they were new, and when selecting is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from select_scenarios import made_up

from quickstudy.errors import CheckpointError, ConfigError, DataError
from quickstudy.registry import selectors
from quickstudy.select import Scenario, Selection, Slice, Step, fit, measure, planned, played
from quickstudy.select.base import filled
from quickstudy.select.forest import asked, asked_unseen, bags, grow_extra, planted
from quickstudy.storage.tensors import load_tensors, save_tensors

pytest.importorskip("sklearn")


def test_turns_by_hand() -> None:
    """A cutoff of 100, features for 10: of the 90 that are left the first has 45, the second 27, and then the third."""
    times = [[40, 1, 1], [60, 20, 1], [60, 30, 17], [60, 30, 19], [95, 96, np.inf], [45, 1, 1]]
    scenario = Scenario.of(
        np.zeros((6, 1)), times, cutoff=100, steps={"all": Step(("feature 0",))}, costs=np.full((6, 1), 10.0)
    )
    order = np.tile([0, 1, 2], (6, 1))
    turns = (0.5, 0.3, 0.2)
    assert played(scenario, order, (), turns).tolist() == [50, 75, 99, 1000, 1000, 55]
    assert played(scenario, order, (), turns, free=True).tolist() == [40, 70, 80, 80, 1000, 45]
    assert played(scenario, order[:, :2], (), turns).tolist() == [50, 75, 85, 85, 1000, 55]  # the last runs on
    before = played(scenario, order, (Slice(1, 20.0),), turns)  # of the 70 that are left 35, 21 and the rest
    assert before.tolist() == [1, 20, 1000, 1000, 1000, 1]
    np.testing.assert_array_equal(played(scenario, order), played(scenario, order[:, 0]))


def test_a_plan_takes_what_helps_on_what_is_known() -> None:
    """One algorithm solves half the instances at once; on the others nothing tells the best two of four apart."""
    draw, count = np.random.default_rng(0), 200
    times = np.full((count, 4), np.inf)
    half = np.arange(count) < count // 2
    times[half, 3] = 0.1
    first = draw.random(count) < 0.5
    times[~half & first, 0], times[~half & ~first, 1] = 20.0, 22.0
    scenario = Scenario.of(np.zeros((count, 1)), times, cutoff=100)
    order = np.tile([0, 1, 2, 3], (count, 1))
    plan = planned(scenario, order)
    assert plan.select and [one.algorithm for one in plan.schedule] == [3] and plan.schedule[0].seconds < 1
    result = played(scenario, order, plan.schedule, plan.turns)
    assert (result < 100).all() and (played(scenario, order) > 100).mean() > 0.5
    alone = planned(scenario, np.tile([2, 0, 1, 3], (count, 1)), most=0, errors=1e9)
    assert not alone.select and not alone.schedule  # nothing gains so much, not even against what never finishes


def test_what_gains_nothing_is_left_alone() -> None:
    scenario = Scenario.of(np.zeros((50, 1)), np.tile([50.0, 80.0], (50, 1)), cutoff=100)
    plan = planned(scenario, np.tile([0, 1], (50, 1)))
    assert (plan.schedule, plan.turns, plan.select) == ((), (1.0,), False)
    measured = Scenario.of(np.zeros((4, 1)), [[1.0, 2.0], [2.0, 1.0], [1.0, 3.0], [2.0, 1.0]])
    plan = planned(measured, measured.times.argsort(axis=1))
    assert (plan.schedule, plan.turns, plan.select) == ((), (1.0,), True)


def test_features_that_tell_nothing_leave_the_single_best() -> None:
    draw = np.random.default_rng(1)
    times = np.where(draw.random((80, 3)) < 0.5, draw.uniform(60, 99, (80, 3)), np.inf)
    times[:, 1] = draw.uniform(60, 99, 80)  # always finishes
    scenario = Scenario.of(draw.normal(size=(80, 4)), times, cutoff=100, folds=np.arange(80) % 4 + 1)
    selection = fit("shared-forest", scenario, plan=True)
    assert selection.part.name == "single-best" and selection.blind
    assert [one.npar10 for one in measure(selection.part, scenario).folds] == [1.0] * 4
    kept = fit("shared-forest", made_up(), plan=True)
    assert kept.part.name == "shared-forest" and not kept.blind


def test_unseen_scores_are_of_trees_that_have_not_seen() -> None:
    scenario, seed = made_up(30), 4
    part = selectors.part("shared-forest", trees=12).build()
    state, drawn = part.fit(scenario, seed), bags(30, 12, seed)
    assert drawn.sum(axis=1).tolist() == [30] * 12
    x, found = filled(state, scenario.x), part.unseen(scenario, state, seed)
    losses = part._losses(scenario)  # type: ignore[attr-defined]
    each = [
        asked(planted([grow_extra(x, losses, leaf=1, tried="third", seed=seed, drawn=drawn)[i : i + 1]]), x)[:, 0]
        for i in range(12)
    ]
    for row in range(30):
        free = [each[i][row] for i in range(12) if drawn[i, row] == 0] or [one[row] for one in each]
        np.testing.assert_allclose(found[row], np.mean(free, axis=0), rtol=1e-5, atol=1e-6)


def test_unseen_scores_know_nothing_of_an_instance_itself() -> None:
    draw = np.random.default_rng(2)
    best = draw.integers(2, size=400)
    times = np.where(best[:, None] == [0, 1], 1.0, 50.0)
    scenario = Scenario.of(draw.normal(size=(400, 3)), times, cutoff=60)
    for name in ("shared-forest", "neighbours", "ensemble"):
        part = selectors.part(name, **({"nearest": 1} if name == "neighbours" else {})).build()
        state = part.fit(scenario, 0)
        seen = part.scores(state, scenario.x).argmin(axis=1) == best
        unseen = part.unseen(scenario, state, 0).argmin(axis=1) == best
        assert seen.mean() > 0.9 and unseen.mean() < 0.6, (name, seen.mean(), unseen.mean())


def test_a_plan_refuses_copies_of_instances() -> None:
    scenario = made_up(30)
    with pytest.raises(ConfigError, match="Leave out the plan, or the bootstrap"):
        measure(selectors.part("neighbours"), scenario, plan=True, bootstrap=True)
    with pytest.raises(DataError, match="1 of 3 instances .* a second time"):
        fit("neighbours", scenario.rows(np.array([3, 5, 3])), plan=True)
    assert fit("neighbours", scenario.rows(np.array([3, 5, 3]))).algorithms == scenario.algorithms


def test_extra_trees_as_arrays_say_what_scikit_learn_says() -> None:
    from sklearn.tree import ExtraTreeRegressor

    draw = np.random.default_rng(0)
    x, new, y = draw.normal(size=(60, 5)).astype(np.float32), draw.normal(size=(20, 5)), draw.normal(size=(60, 3))
    drawn = bags(60, 1, 7)
    ours = planted([grow_extra(x, y, leaf=1, tried="all", seed=3, drawn=drawn)])
    held = drawn[0] > 0
    tree = ExtraTreeRegressor(random_state=3).fit(x[held], y[held], sample_weight=drawn[0, held].astype(float))
    np.testing.assert_allclose(asked(ours, new)[:, 0], tree.predict(new), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(asked(ours, x[held])[:, 0], y[held], rtol=1e-5)  # a leaf for each
    np.testing.assert_allclose(asked_unseen(ours, x[held], drawn[:, held]), y[held], rtol=1e-5)


def test_an_ensemble_is_the_mean_in_like_units() -> None:
    scenario, x = made_up(), made_up(20, seed=2).x
    alone = fit(selectors.part("neighbours", nearest=5), scenario).scores(x)
    twice = selectors.part("ensemble", members=("neighbours nearest 5", "neighbours nearest 5"))
    scores = fit(twice, scenario).scores(x)
    centred = alone - alone.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(scores / scores.std(), centred / centred.std(), rtol=1e-9)
    with pytest.raises(ConfigError, match="no members"):
        fit(selectors.part("ensemble", members=()), scenario)
    with pytest.raises(ConfigError, match="neighbors"):
        fit(selectors.part("ensemble", members=("neighbors",)), scenario)


def test_a_plan_is_stored(tmp_path: Path) -> None:
    scenario, path = made_up(), tmp_path / "kept.safetensors"
    times = scenario.times.copy()
    times[::3] = np.where(np.isfinite(times[::3]), 90.0, np.inf)
    hard = Scenario.of(scenario.x, times, cutoff=100.0)
    selection = fit("shared-forest", hard, plan=True)
    selection.save(path)
    again = Selection.load(path)
    assert (again.turns, again.schedule) == (selection.turns, selection.schedule)
    assert [row[0] for row in again.takes_turns(scenario.x)] == again.choose(scenario.x)
    tensors, meta = load_tensors(path, "selector", dict)  # type: ignore[arg-type]
    save_tensors(tmp_path / "bad.safetensors", tensors, {**meta, "turns": [0.25] * 9})
    with pytest.raises(CheckpointError, match="9 turns"):
        Selection.load(tmp_path / "bad.safetensors")
    with pytest.raises(ConfigError, match="A plan finds its own presolvers"):
        fit("neighbours", hard, plan=True, presolve=1.0)

"""Latencies on new devices, limits of latency, Pareto fronts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.search import Devices, Plan, front, reward, search_within
from quickstudy.search.limits import _log_kept
from quickstudy.space import Array


def made(count: int = 400, devices: int = 6, noise: float = 0.02) -> tuple[Array, Array, Array]:
    """Descriptions, latencies on known devices, and those on a new one: log-linear in the descriptions."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (count, 5)).astype(float)
    costs = rng.uniform(0.05, 0.4, (5, devices + 1))
    times = np.exp(x @ costs + rng.uniform(-1, 3, devices + 1) + noise * rng.standard_normal((count, devices + 1)))
    return x, times[:, :-1], times[:, -1]


def test_a_new_device_is_known_after_ten_measurements_and_better_than_by_the_others_mean() -> None:
    x, known, new = made()
    devices = Devices.of(known, x)
    rows = devices.sample(10)
    assert len(set(rows.tolist())) == 10
    found = devices.fit(rows.tolist(), new[rows].tolist(), noise=0.01).predict()
    np.testing.assert_allclose(found[rows], new[rows])
    rest = np.setdiff1d(np.arange(len(x)), rows)
    error = np.abs(np.log(found[rest] / new[rest]))
    assert np.median(error) < 0.05
    assert np.corrcoef(np.log(found[rest]), np.log(new[rest]))[0, 1] > 0.99
    assert np.corrcoef(devices.table.mean(1)[rest], np.log(new[rest]))[0, 1] < 0.97


def test_the_unit_of_latency_does_not_matter() -> None:
    x, known, new = made()
    one, other = Devices.of(known, x), Devices.of(known * 1000, x)
    np.testing.assert_allclose(one.table, other.table, atol=1e-9)
    rows = one.sample(6).tolist()
    np.testing.assert_allclose(one.fit(rows, new[rows]).predict() * 1000, one.fit(rows, new[rows] * 1000).predict())


def test_the_designed_sample_leaves_less_variance_than_chance_and_stays_among_what_is_offered() -> None:
    x, known, _ = made()
    devices = Devices.of(known, x)

    def variance(rows: NDArray[np.int64]) -> float:
        z = np.column_stack([devices.table, np.full(len(x), 3.0)])
        inside = np.linalg.inv(np.eye(z.shape[1]) + z[rows].T @ z[rows] / 0.3)
        return float(((z @ inside) * z).sum(1).mean())

    rng = np.random.default_rng(0)
    chance = [variance(rng.choice(len(x), 5, replace=False)) for _ in range(50)]
    assert variance(devices.sample(5)) < min(chance)
    assert set(devices.sample(5, among=range(20)).tolist()) <= set(range(20))


def test_gaps_in_a_table_are_filled_by_the_description() -> None:
    x, known, _ = made(noise=0.0)
    holes = known.copy()
    holes[::3, 0] = np.nan
    np.testing.assert_allclose(Devices.of(holes, x, 1e-6).table, Devices.of(known, x, 1e-6).table, atol=0.1)


def test_the_bound_is_kept_about_as_often_as_it_says() -> None:
    kept = []
    for seed in range(20):
        x, known, new = made(noise=0.1)
        devices, rng = Devices.of(known, x), np.random.default_rng(seed)
        rows = rng.choice(len(x), 19, replace=False).tolist()
        model = devices.fit(rows, new[rows])
        rest = np.setdiff1d(np.arange(len(x)), rows)
        kept.append(float((new[rest] <= model.bound(0.1)[rest]).mean()))
        assert (model.bound(0.05) >= model.bound(0.3) - 1e-12).all()
    assert 0.84 < np.mean(kept) < 0.97  # 0.9, over devices and samples by chance


def test_latencies_that_are_none_are_refused() -> None:
    x, known, new = made()
    with pytest.raises(DataError, match="not above 0"):
        Devices.of(known - 10.0, x)
    with pytest.raises(ShapeError, match="expected"):
        Devices.of(known[:5], x)
    devices = Devices.of(known, x)
    with pytest.raises(DataError, match="two or more"):
        devices.fit([3], [2.0])
    with pytest.raises(DataError, match="two or more"):
        devices.fit([3, 4], [2.0, float("nan")])
    with pytest.raises(DataError, match="cannot be measured"):
        devices.sample(0)
    with pytest.raises(DataError, match="nothing of the error"):
        _ = devices.fit([3, 4], new[[3, 4]]).errors


def test_within_a_limit_nothing_is_found_that_was_not_measured_to_keep_it() -> None:
    x, known, new = made(noise=0.1)
    devices, worth = Devices.of(known, x), x.sum(1) + 0.01 * np.arange(len(x))
    for share in (0.2, 0.5, 0.8):
        limit = float(np.quantile(new, share))
        asked: list[int] = []

        def measure(row: int, asked: list[int] = asked) -> float:
            asked.append(row)
            return float(new[row])

        found = search_within(limit, devices, lambda _: x.sum(1) / 4, lambda row: float(worth[row]), measure)
        assert len(asked) == len(found.measured) <= 10
        assert len(found.tried) <= 10
        assert found.best is not None
        assert found.measured[found.best] == new[found.best] <= limit
        assert found.score == worth[found.best] >= np.quantile(worth[new <= limit], 0.9)


@pytest.mark.parametrize("measurements", [4, 6])
def test_when_measurements_are_spent_those_that_keep_the_limit_are_tried(measurements: int) -> None:
    x, known, new = made()
    plan = Plan(first=measurements, measurements=measurements, trials=10)
    limit, worth = float(np.quantile(new, 0.6)), np.random.default_rng(0).random(len(x))
    found = search_within(
        limit, Devices.of(known, x), lambda _: worth, lambda row: float(worth[row]), lambda row: float(new[row]), plan
    )
    kept = [row for row, latency in found.measured.items() if latency <= limit]
    assert len(found.measured) == measurements and kept
    assert set(kept) == set(found.tried)
    assert found.best == max(kept, key=lambda row: worth[row])


def test_constant_columns_of_a_description_do_not_count() -> None:
    x, known, _ = made()
    wide = np.hstack([x, np.ones((len(x), 20))])
    np.testing.assert_allclose(Devices.of(known, wide).table, Devices.of(known, x).table, atol=1e-9)


def test_limits_and_risks_that_are_none_are_refused() -> None:
    x, known, new = made()
    devices = Devices.of(known, x)
    for limit in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="Give a limit above 0"):
            search_within(limit, devices, lambda _: x[:, 0], lambda row: 1.0, lambda row: float(new[row]))
    model = devices.fit([0, 5, 9, 20], new[[0, 5, 9, 20]])
    for risk in (0.0, 1.0, 2.0, -1.0):
        with pytest.raises(ConfigError, match="no probability"):
            model.bound(risk)


def test_an_impossible_limit_finds_nothing() -> None:
    x, known, new = made()
    found = search_within(
        new.min() / 2, Devices.of(known, x), lambda _: x[:, 0], lambda row: 1.0, lambda row: float(new[row])
    )
    assert found.best is None
    assert len(found.measured) == 10  # whatever is tried would be the first, and is measured and refused
    assert len(found.tried) == 7


def test_where_measurements_are_left_none_is_tried_that_breaks_the_limit() -> None:
    x, known, new = made(noise=0.3)
    limit, plan = float(np.quantile(new, 0.4)), Plan(trials=3, measurements=20)
    found = search_within(
        limit,
        Devices.of(known, x),
        lambda _: x.sum(1),
        lambda row: float(x[row].sum()),
        lambda row: float(new[row]),
        plan,
    )
    assert len(found.tried) == 3
    assert all(new[row] <= limit for row in found.tried)
    assert any(new[row] > limit for row in list(found.measured)[plan.first :])


def test_plans_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="come first"):
        Plan(first=11)
    with pytest.raises(ConfigError, match="above 0"):
        Plan(doubt=0.0)


def test_the_probability_of_keeping_a_limit_is_finite_far_from_it() -> None:
    z = np.array([-500.0, -10.001, -9.999, 0.0, 50.0])
    found = _log_kept(z)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()
    assert np.isclose(found[3], np.log(0.5))
    assert np.isclose(found[1], found[2], rtol=1e-2)


def test_the_front_is_what_no_other_point_beats() -> None:
    rng = np.random.default_rng(0)
    scores, costs = rng.integers(0, 8, 60).astype(float), rng.integers(0, 8, 60).astype(float)
    no_worse = (scores >= scores[:, None]) & (costs <= costs[:, None])
    better = (scores > scores[:, None]) | (costs < costs[:, None])
    found = front(scores, costs)
    assert sorted(found.tolist()) == np.flatnonzero(~(no_worse & better).any(1)).tolist()
    assert (np.diff(costs[found]) >= 0).all()


def test_the_reward_is_the_published_one() -> None:
    np.testing.assert_allclose(reward(np.array([0.8, 0.8]), np.array([40.0, 160.0]), 80.0), [0.8, 0.4])
    soft = reward(np.array([0.75]), np.array([160.0]), 80.0, -0.07, -0.07)
    np.testing.assert_allclose(soft, 0.75 * 2**-0.07)  # five per cent for twice the time
    with pytest.raises(ConfigError, match="above 0"):
        reward(np.array([0.5]), np.array([0.0]), 80.0)

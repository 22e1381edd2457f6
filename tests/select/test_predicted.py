"""Strategies find what is best, in fewer trials where they can know more, and refuse what makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.registry import Part, strategies
from quickstudy.select import warm
from quickstudy.select.warm.losses import emphasised
from quickstudy.select.warm.process import Data, LinearKernel, Process
from quickstudy.select.warm.ridge import Units, like_units, smoothed
from quickstudy.space import Array, Choice, Range, Space, Values, key

GRID = Space({"a": Range(0, 9), "b": Range(0, 9), "c": Choice("x", "y", "z")})
POINTS = list(GRID.points())
POOL = warm.Pool.of(GRID, 0)
ALONE = [name for name in strategies if not strategies.traits(name).experienced]


def loss(point: Values) -> float:
    return float(abs(point["a"] - 7) + abs(point["b"] - 2) + 3.0 * (point["c"] != "y"))


def share(point: Values) -> float:
    """The same as a number between 0 and 1."""
    return float(1 / (1 + np.exp(-loss(point))))


def needed(
    strategy: Part[warm.Strategy],
    seed: int,
    past: warm.Experience | None = None,
    goal: Callable[[Values], float] = loss,
    most: int = 300,
) -> int:
    """Trials until the best point is tried."""
    best = min(map(goal, POINTS))
    search = warm.Search(GRID, past, strategy, seed)
    for count in range(1, most + 1):
        point = search.propose()
        if goal(point) == best:
            return count
        search.tell(point, goal(point))
    return most + 1


def mean_of(name: str, **options: object) -> float:
    return float(np.mean([needed(strategies.part(name, **options), seed) for seed in range(8)]))


def test_who_learns_needs_fewer_trials_than_evolution_and_that_fewer_than_chance() -> None:
    chance, evolution, predicted = mean_of("random"), mean_of("evolution", population=20), mean_of("predicted")
    assert predicted < 0.8 * evolution < 0.4 * chance
    assert abs(chance - 150.5) < 75  # the mean of 1 … 300


@pytest.mark.parametrize("name", ["random", "evolution", "predicted", "experienced"])
def test_no_candidate_is_tried_twice_before_all_were(name: str) -> None:
    space = Space({"a": Range(0, 19), "c": Choice(True, False)})
    some = space.draw(9, np.random.default_rng(0))
    past = warm.Experience(space).task("other", some, [float(p["a"] % 7) for p in some])
    search = warm.Search(space, past, name)
    seen = set()
    for _ in range(40):
        point = search.propose()
        seen.add(key(point))
        search.tell(point, point["a"] * (-1 if point["c"] else 1))
    assert len(seen) == 40
    assert search.exhausted
    assert (search.best.values, search.best.loss) == ({"a": 19, "c": True}, -19.0)
    search.tell(search.propose(), 0.0)


@pytest.mark.parametrize("name", ALONE)
def test_the_same_seed_asks_the_same(name: str) -> None:
    def asked(seed: int) -> list[Values]:
        search, found = warm.Search(GRID, None, name, seed), []
        for _ in range(14):
            found.append(search.propose())
            search.tell(found[-1], loss(found[-1]))
        return found

    assert asked(1) == asked(1) != asked(2)


def test_predictions_do_not_depend_on_the_unit_of_losses() -> None:
    def asked(times: float) -> list[Values]:
        search, found = warm.Search(GRID, None, "predicted", 3), []
        for _ in range(20):
            found.append(search.propose())
            search.tell(found[-1], times * loss(found[-1]) + times)
        return found

    assert asked(1.0) == asked(1000.0)


def test_a_continuous_space_is_searched_too() -> None:
    space = Space({"rate": Range(1e-5, 1.0, log=True), "width": Range(8, 512, log=True), "decay": Range(0.0, 1.0)})

    def goal(point: Values) -> float:
        off = (np.log10(point["rate"]) + 2.0, np.log2(point["width"]) - 6.0, 5 * point["decay"] - 1.0)
        return float(np.abs(off).sum())

    def reached(strategy: str, **options: object) -> float:
        part = strategies.part(strategy, **options)
        found = [warm.minimise(goal, space, 30, strategy=part, seed=seed).best.loss or 0.0 for seed in range(8)]
        return float(np.mean(found))

    chance = reached("random")
    assert chance > 1.2 * reached("evolution", population=10, sample=5)
    assert chance > 1.2 * reached("predicted")


def test_the_process_interpolates_and_is_certain_where_it_has_seen() -> None:
    rng = np.random.default_rng(0)
    x, at = rng.standard_normal((12, 3)), rng.standard_normal((5, 3))
    y = np.sin(x[:, :1])
    kernel = LinearKernel(linear=0.7, curved=1.0, scale=1.3, noise=1e-9)
    process = Process.of(kernel, Data(x, y))
    mean, deviation = process.predict(x)
    np.testing.assert_allclose(mean, y, atol=1e-6)
    np.testing.assert_allclose(deviation, 0, atol=1e-3)
    np.testing.assert_allclose(process.mean(at), process.predict(at)[0])
    assert (process.predict(at)[1] ** 2 <= kernel.diagonal(at) + 1e-9).all()
    np.testing.assert_allclose(kernel.diagonal(at), np.diag(kernel(at, at)))


def test_a_linear_process_is_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    x, y, at = rng.standard_normal((9, 4)), rng.standard_normal((9, 1)), rng.standard_normal((6, 4))
    ridge = at @ np.linalg.solve(x.T @ x + 0.5 * np.eye(4), x.T @ y)
    process = Process.of(LinearKernel(linear=1.0, curved=0.0, noise=0.5), Data(x, y))
    np.testing.assert_allclose(process.mean(at), ridge, rtol=1e-6)


def test_units_and_emphasis() -> None:
    raw = np.array([[1.0, 5.0, 2.0], [2.0, 5.0, 4.0], [3.0, 5.0, 9.0]])
    x = like_units(raw)
    assert x.shape == (3, 2)
    assert np.isclose((x**2).sum(1).mean(), 1.0)
    np.testing.assert_allclose(Units.of(raw)(raw[1:]), x[1:])
    assert Units.of(raw[:1])(raw).tolist() == [[0.0]] * 3  # nothing differs
    y = emphasised(np.array([0.9, 0.1, 0.5, 0.8]))
    assert y.argmax() == 1
    assert y[1] - y[2] > y[2] - y[3] > y[3] - y[0] > 0
    np.testing.assert_allclose(smoothed(np.eye(3)[:, :2], np.array([[1.0], [2.0], [3.0]]), 1e-9)[:, 0], [1, 2, 3])


def other(shift: int) -> list[float]:
    """Every point's loss on a task whose best `a` is elsewhere, as a share."""
    return [float(1 / (1 + np.exp(-loss({**p, "a": p["a"] - shift}) / 9 - shift))) for p in POINTS]


def past(**tasks: list[float]) -> warm.Experience:
    found = warm.Experience(GRID)
    for name, losses in tasks.items():
        found = found.task(name, POINTS, losses)
    return found


def test_experience_of_the_same_task_finds_the_best_at_once() -> None:
    assert needed(strategies.part("experienced", own=1.0), 0, past(same=other(0))) == 1


def test_levels_say_how_far_beyond_the_others_a_task_lies() -> None:
    """Tasks whose likings change steadily with their level: the expectation is exact between and beyond them."""
    rng = np.random.default_rng(0)
    base, change = rng.standard_normal((2, 50))
    levels = np.array([0.0, 1.0])
    liking = base + levels[:, None] * change
    likings = warm.Likings(("one", "two"), liking, np.tile(levels[:, None], (1, 50)))
    for level in (-1.0, 0.5, 3.0):
        found = likings.expected([4, 9], np.full(2, level))
        np.testing.assert_allclose(found, base + level * change)
    np.testing.assert_allclose(likings.expected([], np.empty(0)), liking.mean(0))
    equal = warm.Likings(("one", "two"), liking, np.zeros((2, 50)))
    np.testing.assert_allclose(equal.expected([1], np.ones(1)), liking.mean(0))
    odds = warm.Likings(("one", "two"), liking, np.tile(1 / (1 + np.exp(-levels[:, None])), (1, 50)))
    found = odds.expected([4, 9], np.full(2, 1 / (1 + np.exp(-3.0))), "logit")
    np.testing.assert_allclose(found, base + 3.0 * change)


def test_misleading_experience_is_overcome() -> None:
    wrong = past(opposite=[1 - one for one in other(0)])
    count = [needed(strategies.part("experienced"), seed, wrong) for seed in range(3)]
    assert max(count) < 100  # going down that ranking takes all 300


def test_trials_of_a_part_of_the_candidates_are_experience_too() -> None:
    losses = other(1)
    some = np.random.default_rng(0).choice(len(POINTS), 60, replace=False)
    part = warm.Experience(GRID).task("part", [POINTS[i] for i in some], [losses[i] for i in some])
    assert warm.Likings.of(POOL, part).liking.shape == (1, 300)
    assert needed(strategies.part("experienced", level="logit"), 0, part, share) < 40


def test_candidates_that_no_task_tried_are_judged_by_what_others_were_like() -> None:
    """A list without a point that a past task tried: the regression is the same as of all points."""
    losses = other(0)
    some = [i for i, point in enumerate(POINTS) if point["a"] < 5]
    part = warm.Experience(GRID).task("half", [POINTS[i] for i in some], [losses[i] for i in some])
    rest = [point for point in POINTS if point["a"] >= 5]
    search = warm.Search(GRID, part, "experienced", only=rest)
    assert search.propose() == {"a": 9, "b": 0, "c": "y"}  # as a line through what it saw says


def test_what_is_left_unexplained_is_believed_as_far_as_tasks_agree() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2))
    space = Space({"i": Range(0, 399)}).described(lambda points: x[[point["i"] for point in points]])
    points, pool = list(space.points()), warm.Pool.of(space, 0)
    shared, own = rng.standard_normal(400), rng.standard_normal((3, 400))

    def believed(common: float) -> float:
        """Of a candidate's deviation from the regression how much is believed, by comparing with own=0 and own=1."""
        told = warm.Experience(space)
        for k in range(3):
            told = told.task(str(k), points, list(-x[:, 0] - common * shared - own[k]))
        found = [warm.Likings.of(pool, told, own=value).losses for value in (None, 0.0, 1.0)]
        return float(((found[0] - found[1]) / (found[2] - found[1])).mean())

    assert believed(0.0) < 0.35 < 0.6 < believed(3.0) <= 1.0


@pytest.mark.parametrize("told", [warm.Experience(GRID), past(flat=[0.5] * 300)])
def test_experience_that_says_nothing_is_refused(told: warm.Experience) -> None:
    with pytest.raises(DataError, match="different losses"):
        warm.Likings.of(POOL, told)


def test_wrong_use_is_named() -> None:
    with pytest.raises(DataError, match="0 trials none finished"):
        _ = warm.Search(GRID, None, "random").best
    search = warm.Search(GRID, past(same=other(0)), strategies.part("experienced", level="logit"))
    search.tell(search.propose(), 94.0)
    with pytest.raises(ConfigError, match="log-odds"):
        search.propose()
    with pytest.raises(ConfigError, match="predicted"):
        warm.Search(GRID, None, "predictd").propose()
    with pytest.raises(ConfigError, match="optimism"):
        strategies.part("predicted", thompson=True).build()
    with pytest.raises(ConfigError, match="no kernel"):
        strategies.part("predicted", linear=0.0, curved=0.0).build()
    with pytest.raises(ConfigError, match="between 0 and 1"):
        strategies.part("predicted", explore=2.0).build()


def distance(points: Sequence[Values]) -> Array:
    return np.array([[loss(point)] for point in points])


@pytest.mark.parametrize("name", ["predicted", "gp"])
def test_a_description_of_ones_own_is_used(name: str) -> None:
    found = warm.minimise(loss, GRID.described(distance), 7, strategy=strategies.part(name, start=3))
    assert found.best.loss == 0.0
    plain = warm.minimise(loss, GRID, 7, strategy=strategies.part(name, start=3))
    assert plain.best.loss != 0.0


@pytest.mark.parametrize("name", ["surfaces", "rgpe", "experienced"])
def test_past_tasks_are_seen_through_the_description_too(name: str) -> None:
    """Ten points of a past task tell that little distance is good, of points that it never tried."""
    some = [point for point in POINTS if loss(point) > 6][::20]
    told = warm.Experience(GRID).task("other", some, [100 + loss(point) for point in some])
    search = warm.Search(GRID.described(distance), told, strategies.part(name, start=2))
    for _ in range(5):
        point = search.propose()
        search.tell(point, loss(point))
    assert search.best.loss is not None
    assert search.best.loss <= 1.0


def test_a_described_search_is_stored_and_needs_its_description(tmp_path: Path) -> None:
    search = warm.Search(GRID.described(distance), None, strategies.part("predicted", start=2))
    for _ in range(4):
        point = search.propose()
        search.tell(point, loss(point))
    search.save(tmp_path / "search.json")
    assert warm.Search.load(tmp_path / "search.json", describe=distance).propose() == search.propose()
    for wrong in (None, lambda points: distance(points) ** 2):
        with pytest.raises(DataError, match="another description"):
            warm.Search.load(tmp_path / "search.json", describe=wrong)
    search = warm.Search(GRID, past(same=other(0)), strategies.part("experienced", rich=distance))
    with pytest.raises(ConfigError, match="rich= is a function"):
        search.save(tmp_path / "search.json")


def test_descriptions_without_meaning_are_refused() -> None:
    with pytest.raises(ShapeError, match="one row"):
        GRID.described(lambda points: np.zeros((5, 2)))
    with pytest.raises(DataError, match="no finite number"):
        GRID.described(lambda points: np.full((len(points), 1), np.nan))


def test_equal_losses_are_liked_alike() -> None:
    assert emphasised(np.ones(4)).tolist() == [0.0] * 4
    y = emphasised(np.array([0.5, 0.1, 0.5, 0.9]))
    assert y[0] == y[2]
    without = -np.log(1 + 0.006 * 4 + np.array([1.5, 0, 1.5, 3]))
    without[[0, 2]] = -np.log(1 + 0.006 * 4 + np.array([1, 2])).mean()
    np.testing.assert_allclose(y, (without - without.mean()) / without.std())


HALF = Space({"x": Range(0, 60)})


def shares(limit: int = 30) -> warm.Experience:
    """Shares that are wrong, which a line through them takes below 0 beyond `limit`."""
    found = warm.Experience(HALF)
    for k in range(3):
        found = found.task(
            f"{k}", [{"x": i} for i in range(limit)],
            [0.001 + 0.6 * max(0, 1 - i / (limit * 0.9)) + 0.001 * k for i in range(limit)],
        )  # fmt: skip
    return found


def test_log_odds_hold_where_a_regression_goes_beyond_them() -> None:
    past = shares()
    for first in (5, 40, 60):
        search = warm.Search(HALF, past, strategies.part("experienced", level="logit"))
        search.tell({"x": first}, 0.2)
        assert 0 <= search.propose()["x"] <= 60
    search = warm.Search(HALF, past, strategies.part("experienced", level="logit"))
    search.tell(search.propose(), None)
    assert search.propose() != search.trials[0].values
    wrong = past.task("percent", [{"x": 1}, {"x": 2}], [20.0, 30.0])
    search = warm.Search(HALF, wrong, strategies.part("experienced", level="logit"))
    search.tell({"x": 1}, 0.2)
    with pytest.raises(ConfigError, match="no log-odds"):
        search.propose()


def test_only_trials_that_finished_tell_of_the_level() -> None:
    """Where nothing finished, what is proposed is what all past tasks like, as before the first trial."""
    past, (easy, hard) = warm.Experience(HALF), np.random.default_rng(0).random((2, 61))
    for level in (5.0, 5.5, 6.0, 6.5, 7.0):
        losses = level + (7 - level) / 2 * easy + (level - 5) / 2 * hard
        past = past.task(f"{level}", [{"x": i} for i in range(61)], losses.tolist())
    runs = []
    for loss in ("pending", None):
        search = warm.Search(HALF, past, "experienced")
        order = np.argsort(-search._prepared.likings.liking.mean(0), kind="stable")
        for _ in range(4):
            point = search.propose()
            if loss is None:
                search.tell(point, None)
            runs.append(search._prepared.pool.place[key(point)])
        np.testing.assert_array_equal(runs[-4:], order[:4])


@pytest.mark.parametrize("name", ["surfaces", "prior-mean", "rgpe", "gp", "experienced", "predicted"])
@pytest.mark.parametrize("flat", [0, 40])
def test_the_unit_of_the_loss_does_not_matter(name: str, flat: int) -> None:
    """Also where more than half of the points are the best."""
    runs = []
    for unit in (1e-6, 1.0, 1e6):
        past = warm.Experience(HALF)
        for k in range(2):
            at = [abs(i - 20 - 5 * k) / 60 if not flat else max(0.0, (i - flat) / 60) * (1 + k) for i in range(61)]
            past = past.task(f"t{k}", [{"x": i} for i in range(61)], [unit * loss for loss in at])
        options = {"scale": "bent"} if name in ("surfaces", "prior-mean") else {}
        search = warm.Search(HALF, past, strategies.part(name, **options))
        for _ in range(8):
            point = search.propose()
            search.tell(point, unit * abs(point["x"] - 45) / 60)
        runs.append([trial.values["x"] for trial in search.trials])
    assert runs[0] == runs[1] == runs[2]

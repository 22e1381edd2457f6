"""Strategies find what is best, in fewer trials where they can know more, and refuse what makes no sense."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.registry import proposers
from quickstudy.search import Experience, Experienced, Kernel, Pool, Search, Strategy
from quickstudy.search.gaussian import emphasised, like_units, smoothed
from quickstudy.space import Array, Choice, Range, Space, Values, key

GRID = Space({"a": Range(0, 9), "b": Range(0, 9), "c": Choice("x", "y", "z")})
POOL = Pool.of(GRID)


def score(point: Values) -> float:
    return float(-abs(point["a"] - 7) - abs(point["b"] - 2) - 3.0 * (point["c"] != "y"))


def needed(strategy: Strategy, seed: int, goal: Callable[[Values], float] = score, most: int = 300) -> int:
    """Trials until the best point is tried."""
    best = max(map(goal, POOL.points))
    search = Search(GRID, strategy, pool=POOL, seed=seed)
    for count in range(1, most + 1):
        point = search.ask()
        if goal(point) == best:
            return count
        search.tell(point, goal(point))
    return most + 1


def mean_of(name: str, **options: object) -> float:
    return float(np.mean([needed(proposers.part(name, **options).build(), seed) for seed in range(8)]))


def test_who_learns_needs_fewer_trials_than_evolution_and_that_fewer_than_chance() -> None:
    chance, evolution, predicted = mean_of("random"), mean_of("evolution", population=20), mean_of("predicted")
    assert predicted < 0.8 * evolution < 0.4 * chance
    assert abs(chance - 150.5) < 75  # the mean of 1 … 300


@pytest.mark.parametrize("name", list(proposers))
def test_no_candidate_is_tried_twice_before_all_were(name: str) -> None:
    search = Search(Space({"a": Range(0, 19), "c": Choice(True, False)}), name)
    seen = set()
    for _ in range(40):
        point = search.ask()
        seen.add(key(point))
        search.tell(point, point["a"] * (1 if point["c"] else -1))
    assert len(seen) == 40
    assert search.best() == ({"a": 19, "c": True}, 19.0)
    search.tell(search.ask(), 0.0)


@pytest.mark.parametrize("name", list(proposers))
def test_the_same_seed_asks_the_same(name: str) -> None:
    def asked(seed: int) -> list[Values]:
        search, found = Search(GRID, name, seed=seed), []
        for _ in range(25):
            found.append(search.ask())
            search.tell(found[-1], score(found[-1]))
        return found

    assert asked(1) == asked(1) != asked(2)


def test_predictions_do_not_depend_on_the_unit_of_scores() -> None:
    def asked(times: float) -> list[Values]:
        search, found = Search(GRID, "predicted", seed=3), []
        for _ in range(20):
            found.append(search.ask())
            search.tell(found[-1], times * score(found[-1]) + times)
        return found

    assert asked(1.0) == asked(1000.0)


def test_a_continuous_space_is_searched_too() -> None:
    space = Space({"rate": Range(1e-5, 1.0, log=True), "width": Range(8, 512, log=True), "decay": Range(0.0, 1.0)})

    def reached(strategy: str, **options: object) -> float:
        found = []
        for seed in range(2):
            search = Search(space, proposers.part(strategy, **options), seed=seed)
            for _ in range(30):
                point = search.ask()
                off = (np.log10(point["rate"]) + 2.0, np.log2(point["width"]) - 6.0, 5 * point["decay"] - 1.0)
                search.tell(point, -float(np.abs(off).sum()))
            found.append(search.best()[1])
        return float(np.mean(found))

    chance = reached("random")
    assert chance < 1.2 * reached("evolution", population=10, sample=5)
    assert chance < 1.5 * reached("predicted")


def test_the_process_interpolates_and_is_certain_where_it_has_seen() -> None:
    rng = np.random.default_rng(0)
    x, at = rng.standard_normal((12, 3)), rng.standard_normal((5, 3))
    y = np.sin(x[:, 0])
    kernel = Kernel(linear=0.7, curved=1.0, scale=1.3, noise=1e-9)
    mean, variance = kernel.posterior(x, y, x)
    np.testing.assert_allclose(mean, y, atol=1e-6)
    np.testing.assert_allclose(variance, 0, atol=1e-6)
    np.testing.assert_allclose(kernel.mean(x, y, at), kernel.posterior(x, y, at)[0], atol=1e-6)
    assert (kernel.posterior(x, y, at)[1] <= kernel.diagonal(at) + 1e-9).all()


def test_a_linear_process_is_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    x, y, at = rng.standard_normal((9, 4)), rng.standard_normal(9), rng.standard_normal((6, 4))
    ridge = at @ np.linalg.solve(x.T @ x + 0.5 * np.eye(4), x.T @ y)
    kernel = Kernel(linear=1.0, curved=0.0, noise=0.5)
    np.testing.assert_allclose(kernel.mean(x, y, at), ridge)
    np.testing.assert_allclose(kernel.posterior(x, y, at)[0], ridge)


def test_units_and_emphasis() -> None:
    x = like_units(np.array([[1.0, 5.0, 2.0], [2.0, 5.0, 4.0], [3.0, 5.0, 9.0]]))
    assert x.shape == (3, 2)
    assert np.isclose((x**2).sum(1).mean(), 1.0)
    y = emphasised(np.array([0.1, 0.9, 0.5, 0.2]))
    assert y.argmax() == 1
    assert y[1] - y[2] > y[2] - y[3] > y[3] - y[0] > 0
    np.testing.assert_allclose(smoothed(np.eye(3)[:, :2], np.array([[1.0], [2.0], [3.0]]), 1e-9)[:, 0], [1, 2, 3])


def other(shift: int) -> tuple[list[Values], list[float]]:
    """Every point's score on a task whose best `a` is elsewhere, as a share."""
    return list(POOL.points), [1 / (1 + np.exp(-score({**p, "a": p["a"] - shift}) / 9 + shift)) for p in POOL.points]


def test_experience_of_the_same_task_finds_the_best_at_once() -> None:
    experience = Experience.of(POOL, {"same": other(0)}, own=1.0)
    assert needed(Experienced(experience=experience, level="plain"), 0) == 1


def test_levels_say_how_far_beyond_the_others_a_task_lies() -> None:
    """Tasks whose likings change steadily with their level: the expectation is exact between and beyond them."""
    rng = np.random.default_rng(0)
    base, change = rng.standard_normal((2, 50))
    levels = np.array([0.0, 1.0])
    liking = base + levels[:, None] * change
    experience = Experience(("one", "two"), liking, np.tile(levels[:, None], (1, 50)))
    for level in (-1.0, 0.5, 3.0):
        found = experience.expected([4, 9], np.full(2, level), "plain")
        np.testing.assert_allclose(found, base + level * change)
    np.testing.assert_allclose(experience.expected([], np.empty(0)), liking.mean(0))
    equal = Experience(("one", "two"), liking, np.zeros((2, 50)))
    np.testing.assert_allclose(equal.expected([1], np.ones(1), "plain"), liking.mean(0))


def test_misleading_experience_is_overcome() -> None:
    points, scores = other(0)
    wrong = Experience.of(POOL, {"opposite": (points, [1 - s for s in scores])})
    count = [needed(Experienced(experience=wrong, level="plain"), seed) for seed in range(3)]
    assert max(count) < 100  # going down that ranking takes all 300


def test_trials_of_a_part_of_the_candidates_are_experience_too() -> None:
    points, scores = other(1)
    some = np.random.default_rng(0).choice(len(points), 60, replace=False)
    experience = Experience.of(POOL, {"part": ([points[i] for i in some], [scores[i] for i in some])})
    assert experience.liking.shape == (1, 300)
    assert needed(Experienced(experience=experience), 0, lambda p: 1 / (1 + np.exp(-score(p)))) < 40


def test_what_is_left_unexplained_is_believed_as_far_as_tasks_agree() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2))
    pool = Pool([{"i": i} for i in range(400)], x)
    shared, own = rng.standard_normal(400), rng.standard_normal((3, 400))

    def share(common: float) -> float:
        """Of a candidate's deviation from the regression how much is believed, by comparing with own=0 and own=1."""
        tasks = {str(k): (list(pool.points), list(x[:, 0] + common * shared + own[k])) for k in range(3)}
        found = [Experience.of(pool, tasks, own=value).scores for value in (None, 0.0, 1.0)]
        return float(((found[0] - found[1]) / (found[2] - found[1])).mean())

    assert share(0.0) < 0.35 < 0.6 < share(3.0) <= 1.0


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ({}, "no task"),
        ({"t": (list(POOL.points), [0.5])}, "not as many finite"),
        ({"t": (list(POOL.points), [0.5] * 300)}, "different scores"),
        ({"t": ([{"a": 99}] * 3, [0.1, 0.2, 0.3])}, "no two of the candidates"),
    ],
)
def test_experience_that_says_nothing_is_refused(tasks: dict[str, tuple[list[Values], list[float]]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Experience.of(POOL, tasks)


def test_wrong_use_is_named() -> None:
    search = Search(GRID, "random")
    with pytest.raises(DataError, match="Nothing was tried"):
        search.best()
    with pytest.raises(DataError, match="no finite number"):
        search.tell(search.ask(), float("nan"))
    with pytest.raises(ConfigError, match="expected"):
        search.tell({"a": 99, "b": 0, "c": "x"}, 0.0)
    part = Pool(POOL.points[:5], POOL.x[:5])
    with pytest.raises(ConfigError, match="not among the candidates"):
        Search(GRID, "random", pool=part).tell(dict(POOL.points[9]), 0.0)
    with pytest.raises(ShapeError, match="one row"):
        Pool(POOL.points, POOL.x[:5])
    experience = Experience.of(POOL, {"same": other(0)})
    with pytest.raises(ShapeError, match="one pool"):
        Search(GRID, Experienced(experience=experience), pool=part).ask()
    search = Search(GRID, Experienced(experience=experience))
    search.tell(search.ask(), 94.0)
    with pytest.raises(ConfigError, match="log-odds"):
        search.ask()
    with pytest.raises(ConfigError, match="predicted"):
        Search(GRID, "predictd")
    with pytest.raises(ConfigError, match="optimism"):
        proposers.part("predicted", thompson=True).build()
    with pytest.raises(ConfigError, match="no kernel"):
        proposers.part("predicted", linear=0.0, curved=0.0).build()
    with pytest.raises(ConfigError, match="between 0 and 1"):
        proposers.part("predicted", explore=2.0).build()


def test_a_description_of_ones_own_is_used() -> None:
    def distance(points: list[Values]) -> Array:
        return np.array([[score(point)] for point in points])

    search = Search(GRID, proposers.part("predicted", start=3), describe=distance, seed=0)  # type: ignore[arg-type]
    for _ in range(4):
        point = search.ask()
        search.tell(point, score(point))
    assert search.best()[1] == 0.0

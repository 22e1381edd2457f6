"""Searches with experience: asked, told, stored, and what they make of failures and small spaces."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import Part, strategies
from quickstudy.select import warm
from quickstudy.space import Choice, Range, Space, Values, When

pytest.importorskip("scipy")

SPACE = Space(
    {"kind": Choice("plain", "bent"), "x": Range(0.0, 1.0), "y": Range(0.0, 1.0), "n": Range(1, 9)},
    {"y": When("kind", ("bent",))},
)
FINITE = Space({"a": Range(1, 3), "b": Choice("u", "v")})


FEW = {"meta": {"iterations": 3, "width": 8, "layers": 1}}
"""Options with which a strategy is fast."""


def part(name: str) -> Part[warm.Strategy]:
    return strategies.part(name, **FEW.get(name, {}))


def bowl(place: float) -> warm.Objective:
    """A bowl whose lowest point lies at x = `place`; y and n matter little."""

    def loss(values: Values) -> float:
        y = values["y"] if values["kind"] == "bent" else 0.5
        return (values["x"] - place) ** 2 + 0.05 * (y - 0.2) ** 2 + 0.01 * abs(values["n"] - 4)

    return loss


def past(count: int = 8, shared: bool = True) -> warm.Experience:
    """Bowls with their lowest points near 0.8, tried at 40 points each."""
    found = warm.Experience(SPACE)
    for task in range(count):
        points = SPACE.draw(40, np.random.default_rng(0 if shared else task))
        objective = bowl(0.74 + 0.02 * task)
        found = found.task(f"task {task}", points, [objective(p) for p in points])
    return found


@pytest.mark.parametrize("name", strategies)
def test_a_stored_search_goes_on_to_the_same_proposals(name: str, tmp_path: Path) -> None:
    experience, objective = past(), bowl(0.79)
    search = warm.Search(SPACE, experience, part(name), seed=3)
    for _ in range(7):
        values = search.propose()
        search.tell(values, objective(values))
    search.propose()  # under way when it is stored
    search.save(tmp_path / "search.json")
    again = warm.Search.load(tmp_path / "search.json", experience)
    assert again.trials == search.trials
    for _ in range(2):
        values = search.propose()
        assert again.propose() == values
        search.tell(values, objective(values))
        again.tell(values, objective(values))
    with pytest.raises(DataError, match="other experience"):
        warm.Search.load(tmp_path / "search.json", past(3))


@pytest.mark.parametrize("name", strategies)
def test_failed_trials_do_not_stop_a_search(name: str) -> None:
    def objective(values: Values) -> float:
        if values["x"] < 0.3:
            raise ValueError("too small")
        return math.nan if values["n"] == 9 else bowl(0.8)(values)

    found = warm.minimise(objective, SPACE, 12, experience=past(), strategy=part(name))
    assert len(found.trials) == 12
    assert found.best.loss is not None
    assert all(t.loss is None for t in found.trials if t.values["x"] < 0.3 or t.values["n"] == 9)
    nothing = warm.minimise(lambda _: None, SPACE, 9, experience=past(), strategy=part(name))
    assert len(nothing.trials) == 9
    with pytest.raises(DataError, match="none finished"):
        _ = nothing.best


@pytest.mark.parametrize("name", strategies)
def test_a_finite_space_is_gone_through_once(name: str) -> None:
    losses = {(p["a"], p["b"]): float(i) for i, p in enumerate(FINITE.points())}
    objective = lambda v: losses[v["a"], v["b"]]  # noqa: E731
    points = list(FINITE.points())
    experience = warm.Experience(FINITE).task("one", points, [objective(p) for p in points])
    experience = experience.task("two", points, [-objective(p) for p in points])
    found = warm.minimise(objective, FINITE, 50, experience=experience, strategy=part(name))
    assert len(found.trials) == 6
    assert found.exhausted
    assert found.best.values == points[0]
    single = Space({"a": Choice("only")})
    assert len(warm.minimise(lambda _: 1.0, single, 5, strategy=part(name)).trials) == 1


@pytest.mark.parametrize("name", [name for name in strategies if strategies.traits(name).experienced])
def test_without_experience_another_strategy_goes_on_and_this_is_said(name: str) -> None:
    search = warm.Search(SPACE, None, name)
    assert search.part.name == "gp"
    assert f"{name} needs experience" in search.remark
    assert search.propose() == warm.Search(SPACE, None, "gp").propose()
    assert not warm.Search(SPACE, past(), part(name)).remark
    silent = warm.Experience(SPACE).task("flat", SPACE.draw(3, np.random.default_rng(0)), [1.0, 1.0, 1.0])
    assert warm.Search(SPACE, silent, name).part.name == "gp"


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", [name for name in strategies if strategies.traits(name).experienced])
def test_experience_is_worth_many_trials(name: str, shared: bool) -> None:
    experience = past(shared=shared)
    regrets = []
    for strategy in (name, "random"):
        found = warm.minimise(bowl(0.81), SPACE, 4, experience=experience, strategy=part(strategy), seed=1)
        regrets.append(found.best.loss)
    assert regrets[0] is not None
    assert regrets[1] is not None
    assert regrets[0] < regrets[1]


@pytest.mark.parametrize("name", strategies)
def test_where_only_some_points_may_be_asked_for_no_other_is(name: str, tmp_path: Path) -> None:
    only = SPACE.draw(12, np.random.default_rng(5))
    search = warm.Search(SPACE, past(), part(name), only=only)
    for _ in range(8):
        values = search.propose()
        assert values in only
        search.tell(values, bowl(0.8)(values))
    search.save(tmp_path / "search.json")
    assert warm.Search.load(tmp_path / "search.json", past()).propose() in only
    assert not search.exhausted
    for values in only:
        search.tell(values, 1.0)
    assert search.exhausted


def test_a_search_begun_again_shares_what_was_learned() -> None:
    first = warm.Search(SPACE, past(), "surfaces", seed=1)
    first.tell(first.propose(), 0.2)
    again = first.again(1)
    assert again.trials == []
    assert again._prepared is first._prepared
    assert again.propose() == warm.Search(SPACE, past(), "surfaces", seed=1).propose()


@pytest.mark.parametrize("name", ["surfaces", "rgpe", "predicted"])
def test_a_search_begun_again_goes_on_from_where_it_was_stored(name: str, tmp_path: Path) -> None:
    again = warm.Search(SPACE, past(), part(name), seed=0).again(7)
    for _ in range(4):
        values = again.propose()
        again.tell(values, bowl(0.8)(values))
    again.save(tmp_path / "search.json")
    loaded = warm.Search.load(tmp_path / "search.json", past())
    assert (loaded.seed, loaded.prepared) == (7, 0)
    assert loaded.again(9).prepared == 0
    if name == "predicted":
        assert loaded._prepared.keys == again._prepared.keys
    else:
        assert loaded._prepared.pool.keys == again._prepared.pool.keys
    assert loaded.propose() == again.propose()


def test_only_points_that_may_be_chosen_exhaust_a_search() -> None:
    search = warm.Search(Space({"x": Range(0, 100)}), strategy="random", only=[{"x": 1}, {"x": 2.0}])
    search.tell({"x": 50}, 1.0)
    search.tell({"x": 60}, 1.0)
    search.tell({"x": 2}, 1.0)
    assert not search.exhausted
    assert search.propose() == {"x": 1}
    search.tell({"x": 1.0}, 1.0)
    assert search.exhausted


def test_the_same_point_is_the_same_in_any_type(tmp_path: Path) -> None:
    search = warm.Search(Space({"d": Range(1, 3)}), strategy="random", only=[{"d": np.int64(d)} for d in (1, 2, 3)])
    for value in (1.0, np.int64(2), 2.0, 2):
        search.tell({"d": value}, 1.0)
    assert not search.exhausted
    values = search.propose()
    assert values == {"d": 3}
    search.save(tmp_path / "search.json")
    assert warm.Search.load(tmp_path / "search.json").pending == [values]
    search.tell({"d": float(values["d"])}, 0.5)
    assert search.exhausted and not search.pending
    path = tmp_path / "past.jsonl"
    warm.Experience.append(path, search.space, "a", [{"d": np.int64(2)}, {"d": 1.0}], [1.0, 2.0])
    (task,) = warm.Experience.load(path).tasks
    assert [type(point["d"]) for point in task.points] == [int, int]
    with pytest.raises(DataError, match="another space"):
        warm.Search(Space({"d": Range(1.0, 3.0)}), warm.Experience.load(path))


def test_proposals_under_way_differ() -> None:
    search = warm.Search(SPACE, past(), "portfolio-gp")
    proposed = [warm.search.key(search.propose()) for _ in range(9)]
    assert len(set(proposed)) == 9


def test_what_was_tried_elsewhere_may_be_told() -> None:
    search = warm.Search(SPACE, past(), "gp")
    search.tell({"kind": "plain", "x": 0.5, "y": 0.9, "n": 3}, 0.1)
    assert search.best.values["y"] == 0.5  # without effect, so at its neutral value
    with pytest.raises(ConfigError, match="x is 7"):
        search.tell({"kind": "plain", "x": 7, "y": 0.9, "n": 3}, 0.1)
    learned = search.learned("today")
    assert learned.tasks[-1].name == "today"
    assert learned.tasks[-1].losses.tolist() == [0.1]


def test_a_portfolio_is_greedy_over_normalised_regret() -> None:
    space = Space({"a": Range(0, 3)})
    points = list(space.points())
    experience = warm.Experience(space)
    for name, losses in {"s": [0, 10, 4, 10], "t": [0, 10, 4, 9], "u": [1000, 0, 400, 900]}.items():
        experience = experience.task(name, points, losses)
    # mean regrets 1/3, 2/3, 0.4, …; then with the first: 1 gives 0, 2 gives 0.4/3
    assert [p["a"] for p in warm.portfolio(experience, 9)] == [0, 1, 2, 3]
    scaled = warm.Experience(space)
    for number, task in enumerate(experience.tasks):
        scaled = scaled.task(task.name, points, [7 + 3 * number + (number + 1) * x for x in task.losses])
    assert warm.portfolio(scaled, 3) == warm.portfolio(experience, 3)
    with pytest.raises(ConfigError, match="0 points"):
        warm.portfolio(experience, 0)


def test_a_portfolio_of_tasks_that_were_tried_at_different_points() -> None:
    first = warm.portfolio(past(shared=False), 1)[0]
    assert abs(first["x"] - 0.8) < 0.12


def test_an_optuna_study_tries_the_portfolio_first() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, tried = optuna.create_study(), []

    def objective(trial: object) -> float:
        values = {
            "kind": trial.suggest_categorical("kind", ["plain", "bent"]), "x": trial.suggest_float("x", 0, 1),
            "y": trial.suggest_float("y", 0, 1), "n": trial.suggest_int("n", 1, 9),
        }  # fmt: skip
        tried.append(values)
        return bowl(0.8)(values)

    assert warm.as_optuna(study, past(), 3) == 3
    study.optimize(objective, n_trials=4)
    assert tried[:3] == warm.portfolio(past(), 3)
    with pytest.raises(ConfigError, match="no Optuna study"):
        warm.as_optuna(object(), past(), 3)

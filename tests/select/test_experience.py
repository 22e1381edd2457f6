"""Experience on disk and in groups."""

from __future__ import annotations

import math
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from quickstudy.errors import ConfigError, DataError, RunError
from quickstudy.select import warm
from quickstudy.space import Choice, Points, Range, Space

SPACE = Space({"lr": Range(1e-4, 1e-1, log=True), "kind": Choice("a", ("b", 2)), "n": Range(1, 5)})
POINTS = SPACE.draw(6, np.random.default_rng(0))


def two() -> warm.Experience:
    found = warm.Experience(SPACE).task("one", POINTS, [3.0, 1.0, None, 2.0, 2.0, 5.5], {"rows": 100.0})
    return found.task("two", POINTS, [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3])


def same(one: warm.Experience, other: warm.Experience) -> bool:
    return one.space == other.space and all(
        a.name == b.name and a.points == b.points and a.features == b.features
        and np.array_equal(a.losses, b.losses, equal_nan=True)
        for a, b in zip(one.tasks, other.tasks, strict=True)
    )  # fmt: skip


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "past.jsonl"
    two().save(path)
    assert same(warm.Experience.load(path, SPACE), two())
    assert path.read_text().count('"points"') == 1  # written once
    warm.Experience.append(path, SPACE, "three", POINTS[:2], [1.0, None])
    warm.Experience.append(path, SPACE, "one", POINTS[:1], [9.0])
    more = two().task("three", POINTS[:2], [1.0, None]).task("one", POINTS[:1], [9.0])
    assert same(warm.Experience.load(path), more)
    assert more.tasks[0].losses.tolist()[-1] == 9.0
    assert more.tasks[0].features == {"rows": 100.0}


def _append(path: Path, who: int) -> None:
    for i in range(8):
        warm.Experience.append(path, SPACE, f"{who}-{i}", POINTS[:2], [1.0, 2.0])


def test_two_processes_add_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "past.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append, args=(path, who)) for who in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert {task.name for task in warm.Experience.load(path).tasks} == {f"{w}-{i}" for w in range(3) for i in range(8)}
    assert [one.name for one in path.parent.iterdir()] == [path.name]  # no lock is left


def test_other_spaces_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "past.jsonl"
    two().save(path)
    other = Space({"lr": Range(1e-4, 1.0, log=True)})
    with pytest.raises(DataError, match="another space"):
        warm.Experience.load(path, other)
    with pytest.raises(DataError, match="another space"):
        warm.Search(other, two())
    lines = path.read_text().splitlines()
    for broken, words in (
        ([], "empty"),
        (["{}"], "line 1: this is no experience"),
        ([*lines[:2], '{"task": "x", "at": 7, "losses": []}'], "line 3 is no line"),
        ([*lines[:2], '{"task": "x", "at": 0, "losses": ["low"]}'], "line 3: losses"),
        ([lines[0], '{"points": [[7.0, "a", 1]]}'], "line 2: lr is 7.0"),
        ([lines[0], '{"points": [[0.01, "a"]]}'], "line 2: a point has 2 values"),
    ):
        path.write_text("\n".join(broken))
        with pytest.raises(DataError, match=words):
            warm.Experience.load(path)
    with pytest.raises(RunError, match="no experience"):
        warm.Experience.load(tmp_path / "none")


def test_losses_that_are_no_numbers_are_refused() -> None:
    for loss in (math.nan, math.inf):
        with pytest.raises(DataError, match="Give None for a trial that failed"):
            warm.Experience(SPACE).task("x", POINTS[:1], [loss])
    with pytest.raises(DataError, match="6 points and 1 losses"):
        warm.Experience(SPACE).task("x", POINTS, [1.0])
    with pytest.raises(ConfigError, match="needs a value"):
        warm.Experience(SPACE).task("x", [{"lr": 1e-3}], [1.0])


def test_groups_share_points_and_leave_out_what_says_nothing() -> None:
    found = two().task("flat", POINTS, [1.0] * 6).task("twice", [*POINTS[:3], POINTS[0]], [1.0, 5.0, 2.0, 3.0])
    assert [task.name for task in found.useful] == ["one", "two", "twice"]
    groups = found.groups()
    assert sorted(len(group.points) for group in groups) == [3, 5, 6]
    (small,) = [group for group in groups if len(group.points) == 3]
    means = {point["lr"]: loss for point, loss in zip(small.points, small.losses[:, 0], strict=True)}
    assert means[POINTS[0]["lr"]] == 2.0  # tried twice: the mean
    assert found.told() == "4 tasks with 22 trials, 1 of them failed, 1 tasks with no two different losses say nothing."
    both = warm.Experience(SPACE).task("a", POINTS, list(range(6))).task("b", POINTS[::-1], list(range(6)))
    (one,) = both.groups()
    assert np.allclose(one.losses.sum(axis=1), 5)


def test_points_of_a_space() -> None:
    points = Points.of(SPACE, [*POINTS, POINTS[0]])
    assert points.count == len(list(points.points())) == 6
    rng = np.random.default_rng(0)
    assert all(point in POINTS for point in points.draw(20, rng))
    assert all(points.near(POINTS[0], rng) in POINTS[1:] for _ in range(20))
    assert (points.encode(POINTS) == SPACE.encode(POINTS)).all()
    with pytest.raises(ConfigError, match="no points"):
        Points.of(SPACE, [])

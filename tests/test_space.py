"""Spaces: ranges and choices, their columns, and parts that leave options open."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import models
from quickstudy.space import Choice, Points, Range, Space, When, key

SPACE = Space(
    {"lr": Range(1e-4, 1e-1, log=True), "width": Range(8, 64), "norm": Choice("batch", "layer"), "bias": Choice(True)}
)


def test_a_logarithmic_range_has_equal_ratios() -> None:
    axis = Range(1e-4, 1.0, log=True)
    values = [axis.at(p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert np.allclose(values, [1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert np.allclose([axis.encode(v)[0] for v in values], [0.0, 0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("axis", [Range(3, 40), Range(1, 512, log=True), Range(0.1, 0.9), Range(1e-5, 1.0, log=True)])
def test_what_is_drawn_lies_within_and_comes_back(axis: Range) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        value = axis.draw(rng)
        assert axis.holds(value)
        assert isinstance(value, int) == axis.whole
        assert axis.at(axis.encode(value)[0]) == pytest.approx(value)
        other = axis.near(value, rng)
        assert axis.holds(other)
        assert other != value


def test_whole_numbers_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount([int(Range(0, 3).draw(rng)) for _ in range(4000)], minlength=4)
    assert counts.min() > 880  # 1000 expected, deviation 27


def test_points_are_drawn_encoded_and_changed_in_one_option() -> None:
    rng = np.random.default_rng(1)
    points = SPACE.draw(50, rng)
    x = SPACE.encode(points)
    assert x.shape == (50, SPACE.columns) == (50, 5)
    assert ((x >= 0) & (x <= 1)).all()
    for point in points:
        SPACE.check(point)
        other = SPACE.near(point, rng)
        SPACE.check(other)
        assert sum(point[name] != other[name] for name in point) == 1
        assert other["bias"] is True


def test_a_finite_space_lists_its_points() -> None:
    space = Space({"depth": Range(1, 3), "norm": Choice("a", "b")})
    points = list(space.points())
    assert len(points) == space.count == 6
    assert points[:3] == [{"depth": 1, "norm": "a"}, {"depth": 1, "norm": "b"}, {"depth": 2, "norm": "a"}]
    with pytest.raises(DataError, match="no list of its points"):
        list(SPACE.points())
    assert math.isinf(SPACE.count)


def test_a_space_of_one_point_stays_where_it_is() -> None:
    space = Space({"depth": Range(2, 2), "norm": Choice("a")})
    assert space.count == 1
    assert space.near({"depth": 2, "norm": "a"}, np.random.default_rng(0)) == {"depth": 2, "norm": "a"}
    assert space.encode([{"depth": 2, "norm": "a"}]).tolist() == [[0.0, 1.0]]


def test_json_keeps_a_space() -> None:
    assert Space.from_json(json.loads(json.dumps(SPACE.to_json()))) == SPACE


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"lr": 1.0}, "lr is 1.0, expected 0.0001 to 0.1"),
        ({"width": 9.5}, "width is 9.5, expected 8 to 64"),
        ({"norm": "none"}, "expected 'batch' or 'layer'"),
        ({"bias": 1}, "bias is 1, expected True"),
        ({"nrom": "batch"}, "norm"),
    ],
)
def test_values_outside_are_refused(point: dict[str, object], words: str) -> None:
    whole = {"lr": 1e-2, "width": 8, "norm": "batch", "bias": True} | point
    with pytest.raises(ConfigError, match=words):
        SPACE.check(whole)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Range(2, 1),
        lambda: Range(0.0, 1.0, log=True),
        lambda: Range(0.0, math.inf),
        lambda: Choice(),
        lambda: Choice(1, 2, 1.0),
    ],
)
def test_axes_without_meaning_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


def test_a_part_may_leave_options_open() -> None:
    part = models.part("mlp", width=Range(16, 64), depth=2)
    assert part.space.names == ("width",)
    closed = part.at({"width": 32})
    assert closed == models.part("mlp", width=32, depth=2)
    assert closed.space.names == ()
    with pytest.raises(ConfigError, match="leaves width open"):
        part.build()
    with pytest.raises(ConfigError, match="expected 16 to 64"):
        part.at({"width": 65})
    with pytest.raises(ConfigError, match="width"):
        models.part("mlp", width=Choice("wide", "narrow"))


def test_options_without_effect_are_neutral() -> None:
    conditions = {"depth": When("kind", ("tree",)), "drop": When("depth", (1, 2))}
    space = Space({"kind": Choice("tree", "line"), "depth": Range(1, 5), "drop": Range(0.0, 1.0)}, conditions)
    rng = np.random.default_rng(0)
    for point in space.draw(200, rng) + [space.near(one, rng) for one in space.draw(200, rng)]:
        assert point["kind"] == "tree" or point["depth"] == 3
        assert (point["depth"] in (1, 2) and point["kind"] == "tree") or point["drop"] == 0.5
    a, b = ({"kind": "line", "depth": 1, "drop": drop} for drop in (0.1, 0.9))
    assert (space.encode([a]) == space.encode([b])).all()
    assert space.settled(a) == {"kind": "line", "depth": 3, "drop": 0.5}
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space
    with pytest.raises(ConfigError, match="Name kind first"):
        Space({"depth": Range(1, 5), "kind": Choice("tree")}, {"depth": When("kind", ("tree",))})
    with pytest.raises(ConfigError, match="never is"):
        Space({"kind": Choice("tree"), "depth": Range(1, 5)}, {"depth": When("kind", ("line",))})


def test_a_description_stands_in_the_place_of_columns() -> None:
    space = Space({"depth": Range(1, 3), "norm": Choice("a", "b")})
    seen = space.described(lambda points: np.array([[p["depth"] ** 2, 5.0] for p in points]))
    some = [{"depth": 2, "norm": "a"}, {"depth": 3, "norm": "b"}]
    np.testing.assert_allclose(seen.encode(some), [[3 / 8, 0], [1, 0]])  # between 1 and 9; what is equal is 0
    assert seen.columns == 2
    assert seen.encode([]).shape == (0, 2)
    assert seen == space
    assert Points.of(seen, some).encode(some[:1]).tolist() == seen.encode(some[:1]).tolist()


def test_spaces_of_other_types_are_other_spaces() -> None:
    assert Range(0, 10) != Range(0.0, 10.0)
    assert Range(0, 10.0) == Range(0.0, 10.0)
    assert Choice(True, False) != Choice(1, 0)
    assert Choice(1, 2) != Choice(1.0, 2.0)
    assert Choice((1, 2)) != Choice((1, True))
    assert Choice((1, 2), "a") == Choice((1, 2), "a")
    assert Space({"x": Range(0, 10)}) != Space({"x": Range(0.0, 10.0)})
    assert len({Range(0, 10), Range(0, 10), Range(0.0, 10.0)}) == 2


def test_values_are_those_of_the_axis() -> None:
    space = Space({"n": Range(1, 8), "x": Range(0.0, 1.0), "w": Choice(4, 8), "b": Choice(True, False)})
    own = {"n": 4, "x": 1.0, "w": 8, "b": False}
    for other in (
        {"n": 4.0, "x": 1, "w": 8.0, "b": False},
        {"n": np.int64(4), "x": np.float32(1), "w": np.int32(8), "b": np.bool_(False)},
    ):
        space.check(other)
        found = space.settled(other)
        assert found == own
        assert [type(v) for v in found.values()] == [int, float, int, bool]
        assert key(found) == key(own)
    assert Range(0.0, 0.1).own(np.float32(0.1)) == 0.1  # which is a little more
    part = models.part("mlp", width=Range(4, 8)).at({"width": np.int64(5)})
    assert type(part.options["width"]) is int


def test_ranges_and_choices_of_numbers_of_numpy() -> None:
    axis = Range(np.int64(1), np.int64(5))
    assert axis == Range(1, 5) and axis.whole and axis.at(0.4) == 3
    assert json.dumps(Choice(np.int64(1), np.float64(2.5)).to_json()) == '{"choice": [1, 2.5]}'

"""Sinusoid, linear and tables: what they give, against the formulas that define them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.tasks import linear, sinusoid, tables
from quickstudy.tasks.base import Sampling
from quickstudy.testing import check_source

MANY = torch.arange(3000)


@pytest.mark.parametrize("varying", [False, True])
def test_sinusoids_follow_their_formula_over_the_published_ranges(varying: bool) -> None:
    source = sinusoid(varying_frequency=varying)
    episode = source.episodes("train", MANY)
    amplitude, frequency, phase = source.curves("train", MANY).unbind(1)
    for part in episode:
        expected = amplitude[:, None] * torch.sin(frequency[:, None] * part.x[..., 0] + phase[:, None])
        torch.testing.assert_close(part.y[..., 0], expected)
        assert -5 <= part.x.min() < -4.99 and 4.99 < part.x.max() <= 5
    assert 0.1 <= amplitude.min() < 0.12 and 4.98 < amplitude.max() <= 5
    if varying:  # Li et al. 2017: y = A sin(wx + b)
        assert 0.8 <= frequency.min() < 0.81 and 1.19 < frequency.max() <= 1.2
        assert 0 <= phase.min() < 0.01 and math.pi - 0.01 < phase.max() <= math.pi
    else:  # Finn et al. 2017: y = A sin(x - b)
        assert (frequency == 1).all()
        assert -math.pi <= phase.min() < 0.01 - math.pi and -0.01 < phase.max() <= 0


def test_sinusoid_points_can_vary_in_number() -> None:
    source = sinusoid().sampled(Sampling(ways=7, shots=10, queries=3, min_shots=4))
    given = source.episodes("val", MANY).support.mask.sum(1)
    assert sorted(given.unique().tolist()) == list(range(4, 11))
    check_source(source)


@pytest.mark.parametrize("dimensions", [1, 2, 8])
def test_the_sides_of_the_hyperplane_are_the_classes(dimensions: int) -> None:
    source = linear(dimensions=dimensions)
    normal, offset = source.planes("train", MANY)
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(len(MANY)))
    for part in source.episodes("train", MANY):
        side = (part.x * normal[:, None]).sum(-1) - offset[:, None]
        assert (side * (2 * part.y - 1) > -1e-5).all()
        assert (part.y.sum(1) * 2 == part.y.shape[1]).all()


def test_points_of_a_class_are_a_standard_normal_cut_at_the_plane() -> None:
    source = linear(dimensions=3).sampled(Sampling(ways=2, shots=1, queries=20))
    normal, offset = source.planes("train", MANY)
    query = source.episodes("train", MANY).query
    height = (query.x * normal[:, None]).sum(-1).double()
    density = torch.exp(-offset.double().square() / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(offset.double())
    for label, mean in ((0, -density / below), (1, density / (1 - below))):  # the inverse Mills ratio
        heights = height[query.y == label].reshape(len(MANY), -1).mean(1)
        assert abs(float((heights - mean).mean())) < 0.01
    across = query.x - height[..., None].float() * normal[:, None]
    assert abs(float(across.square().sum(-1).mean()) - 2) < 0.03  # two free directions of variance 1


def test_linear_refuses_other_than_two_ways() -> None:
    with pytest.raises(ConfigError, match="2-way; found ways=5"):
        linear().sampled(Sampling(ways=5))
    with pytest.raises(ConfigError, match="at least 1, found 0"):
        linear(dimensions=0)
    check_source(linear().sampled(Sampling(ways=2, shots=5, queries=4, min_shots=1)))


@pytest.mark.parametrize("source", [sinusoid(), linear()])
def test_an_unknown_split_suggests_the_nearest(source: object) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'train'"):
        source.episodes("trian", torch.arange(1))  # type: ignore[attr-defined]


def machine(i: int, rows: int = 30) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(i).normal(size=(rows, 3))
    return x, x @ np.full(3, i)


def test_tables_keep_rows_of_a_data_set_together() -> None:
    source = tables({f"machine {i}": machine(i, 25 + i) for i in range(10)}, units="mm")
    check_source(source)
    assert source.spec.input_shape == (3,) and source.spec.target.prediction_shape == (1,)
    assert source.spec.target.units == "mm"
    for part in source.episodes("train", torch.arange(50)):
        slope = part.y[..., 0] / part.x.sum(-1)
        torch.testing.assert_close(
            slope, slope.round().median(1, keepdim=True).values.expand_as(slope), atol=2e-2, rtol=0
        )


def test_tables_say_what_is_wrong() -> None:
    good = [machine(i) for i in range(5)]
    with pytest.raises(ShapeError, match=r"task 1 has 30 rows of x but 29 of y"):
        tables([good[0], (good[1][0], good[1][1][:29])])
    with pytest.raises(ShapeError, match=r"One x of task 5 has shape \(2,\), but \(3,\) in task 0"):
        tables([*good, (np.zeros((9, 2)), np.zeros(9))])
    with pytest.raises(DataError, match="y of task 5 holds NaN or infinite values in 1 examples, first in example 4"):
        tables([*good, (np.zeros((9, 3)), np.array([0, 0, 0, 0, np.nan, 0, 0, 0, 0]))])
    with pytest.raises(DataError, match="2 classes cannot be split|cannot be split"):
        tables(good[:2])
    source = tables([machine(i, 12) for i in range(5)])
    with pytest.raises(DataError, match="has 12 rows, but 10 shots . 10 queries need 20"):
        source.check("train")

"""Numbers against closed forms: what answers cost, a task's own units, and densities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.errors import DataError, ShapeError
from quickstudy.formats.records import Placed
from quickstudy.registry import targets
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.units import Units

ONE = targets.make("numbers")
TWO = targets.make("numbers", shape=(2,), units="m")


def labelled(y: list[Any], known: list[bool] | None = None) -> Examples:
    return Examples(
        torch.zeros(len(y), 1), torch.tensor(y, dtype=torch.float64), torch.tensor(known or [True] * len(y))
    )


def test_the_loss_is_the_squared_error_over_the_numbers_of_real_examples() -> None:
    examples = labelled([[0.0, 1.0], [2.0, 2.0], [5.0, 5.0]], [True, True, False])
    prediction = torch.tensor([[1.0, 1.0], [2.0, 5.0], [0.0, 0.0]], dtype=torch.float64)
    assert float(TWO.loss(prediction, examples)) == float(TWO.score(prediction, examples)) == (0.5 + 4.5) / 2


@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 3)])
def test_labels_of_every_shape_have_one_loss_one_code_and_the_mean_as_baseline(shape: tuple[int, ...]) -> None:
    target = targets.make("numbers", shape=shape)
    y = torch.randn((4, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    examples = Examples(torch.zeros(4, 1), y, torch.tensor([True, True, True, False]))
    assert target.losses(y + 2, y).tolist() == pytest.approx([4.0] * 4)
    coded = target.coded(examples, torch.float64)
    torch.testing.assert_close(coded, torch.cat([y[:3].reshape(3, -1), torch.zeros(1, target.outputs).double()]))
    torch.testing.assert_close(target.baseline(examples, examples), y[:3].mean(0).expand(4, *shape))
    torch.testing.assert_close(target.read(coded, {})[:3], y[:3])
    layer = target.layer()
    assert (coded if layer is None else layer(coded)).shape == y.shape


@pytest.mark.parametrize(
    "labels", [[1, 2, 4], ["1", "2", "4"], torch.tensor([[1], [2], [4]]), torch.tensor([1.0, 2, 4])]
)
def test_single_numbers_become_a_column(labels: Any) -> None:
    y, names = ONE.encode(labels)
    assert y.is_floating_point() and y.tolist() == [[1.0], [2.0], [4.0]] and names == ()


def test_labels_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="labels must be numbers"):
        ONE.encode(["high", "low"])
    with pytest.raises(DataError, match=r"prices\.csv, line 3: labels must be numbers.*found '€1,200'"):
        ONE.encode(["7", Placed("€1,200", "prices.csv, line 3")])
    with pytest.raises(DataError, match="in 1 examples, first in example 2"):
        ONE.encode([0.0, 1.0, float("nan")])
    with pytest.raises(ShapeError, match=r"y has the shape \(3,\) after its first 1 axes, expected \(2,\)"):
        TWO.check(torch.zeros(4, 3), "y", 1)
    with pytest.raises(ShapeError, match="must be floating point, found torch.int64"):
        TWO.check(torch.zeros(4, 2).long(), "y", 1)


def test_a_task_has_units_of_its_own_which_padding_does_not_change() -> None:
    support = labelled([[1.0, 7.0], [3.0, 7.0], [900.0, -900.0]], [True, True, False])
    scale = TWO.scale(support)
    assert scale["y.mean"].tolist() == [2.0, 7.0] and scale["y.spread"].tolist() == [1.0, 1.0]
    scaled = TWO.scaled(TWO.coded(support, torch.float64), scale)
    assert scaled[:2].tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_a_density_follows_the_units_of_its_task() -> None:
    """y = mean + spread · z makes densities smaller by `spread`, so the surprise grows by its logarithm."""
    output = torch.randn((5, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = torch.randn((5, 2), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    scale = {"y.mean": torch.tensor([3.0, -1.0]).double(), "y.spread": torch.tensor([10.0, 0.5]).double()}
    inner, outer = TWO.distribution(output, {}), TWO.distribution(output, scale)
    y = scale["y.mean"] + scale["y.spread"] * z
    wanted = TWO.surprise(inner, z) + scale["y.spread"].log().mean()
    torch.testing.assert_close(TWO.surprise(outer, y), wanted)


def test_a_density_integrates_to_one() -> None:
    said = ONE.distribution(torch.tensor([[0.4, -0.3]], dtype=torch.float64), {})
    points = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    everywhere = Distribution(*(part.expand(4001, 1) for part in said if isinstance(part, Tensor)))
    density = (-ONE.surprise(everywhere, points)).exp()
    assert float(torch.trapezoid(density, points[:, 0])) == pytest.approx(1.0, abs=1e-9)


def test_features_are_described_by_their_spread_and_their_covariance_with_the_label() -> None:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn((6, 2), generator=generator, dtype=torch.float64)
    examples = labelled([[1.0], [4.0], [-2.0], [0.0], [3.0], [100.0]], [True] * 5 + [False])
    weights = examples.mask / examples.mask.sum().double()
    spread, shared = ONE.scatter(z, (z - weights @ z) * weights.sqrt()[:, None], weights, examples)
    whole = torch.cov(torch.cat([z[:5], examples.y[:5]], dim=1).T, correction=0)
    torch.testing.assert_close(spread, whole.diagonal()[:2].sqrt())
    torch.testing.assert_close(shared, whole[:2, 2])


def test_an_answer_is_in_the_units_that_the_format_learned() -> None:
    said = Distribution(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 2.0]]))
    fitted = Units(torch.tensor([100.0]), torch.tensor([10.0]))
    answer = TWO.answer(said, (), fitted)
    assert answer.row(0) == (100.0, 110.0, 5.0, 20.0) and answer.told(0) == "100 ± 5, 110 ± 20"
    assert answer.columns == ("value 1 (m)", "value 2 (m)", "spread 1 (m)", "spread 2 (m)")
    assert TWO.answer(said, ()).values.tolist() == [[0.0, 1.0]]


@pytest.mark.filterwarnings("error")
def test_labels_of_a_frame_that_may_not_be_written_to_are_read_without_a_warning() -> None:
    labels = np.arange(3.0)
    labels.flags.writeable = False
    assert ONE.encode(labels)[0].flatten().tolist() == [0, 1, 2]


def test_labels_that_single_precision_takes_for_one_are_refused() -> None:
    target = targets.make("numbers")
    near = [1e9 + i for i in range(9)]
    for labels in (near, np.array(near)):
        with pytest.raises(DataError, match="Subtract 1e\\+09"):
            target.encode(labels)
    for fine in ([1e9 + 1e5 * i for i in range(9)], [1e9] * 3, [20.0, 20.0001], [1e9]):
        assert len(target.encode(fine)[0]) == len(fine)

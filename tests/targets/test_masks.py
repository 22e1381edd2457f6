"""Masks against closed forms: intersections over unions of whole tasks, pixels that count nowhere, values and names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.errors import DataError, ShapeError
from quickstudy.registry import targets
from quickstudy.targets import LabelMaps, Masks
from quickstudy.targets.classes import ABSENT
from quickstudy.targets.distribution import Distribution
from quickstudy.testing import check_target

I = 255  # noqa: E741


def masks(**options: Any) -> Masks:
    return targets.make("masks", **{"ways": 3, "size": 2} | options)  # type: ignore[return-value]


def labelled(y: Any, mask: list[bool] | None = None) -> Examples:
    y = torch.tensor(y)
    return Examples(torch.zeros(len(y), 1), y, torch.tensor(mask or [True] * len(y)))


def said(ids: Any, ways: int = 3) -> Tensor:
    return 5.0 * F.one_hot(torch.tensor(ids), ways).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("background", [True, False])
def test_masks_of_any_kind_keep_the_contract(background: bool) -> None:
    y = torch.randint(0, 3, (4, 6, 6), generator=torch.Generator().manual_seed(0))
    y[0, 0] = 255
    check_target(masks(size=6, background=background), y.numpy())


def test_the_headline_is_a_ratio_of_sums_over_all_queries_of_a_task() -> None:
    truth = [[[1, 1], [1, 1]], [[0, 1], [0, 0]]]
    answer = [[[1, 1], [1, 0]], [[1, 0], [0, 0]]]
    target = masks(ways=2)
    one, prediction = labelled(truth), said(answer, 2)
    assert float(target.score(prediction, one)) == pytest.approx(3 / 6)
    assert target.scores(prediction, one.y).tolist() == pytest.approx([3 / 4, 0])  # whose mean is another number
    figures = target.metrics(prediction, one)
    assert float(figures["iou of class 0"]) == pytest.approx(2 / 5) and float(figures["pixel accuracy"]) == 5 / 8
    whole = masks(ways=2, background=False)
    assert float(whole.score(prediction, one)) == pytest.approx((3 / 6 + 2 / 5) / 2)


def test_against_counts_of_a_confusion_matrix() -> None:
    generator = torch.Generator().manual_seed(3)
    y, answer = (torch.randint(0, 4, (3, 5, 5), generator=generator) for _ in range(2))
    y[torch.rand(y.shape, generator=generator) < 0.2] = I
    target = masks(ways=4, size=5, background=False)
    keep = y != I
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    for t, p in zip(y[keep].tolist(), answer[keep].tolist(), strict=True):
        matrix[t, p] += 1
    hits = matrix.diag()
    wanted = hits / (matrix.sum(0) + matrix.sum(1) - hits)
    found = target.score(said(answer.tolist(), 4), Examples(torch.zeros(3, 1), y, torch.ones(3, dtype=torch.bool)))
    assert float(found) == pytest.approx(float(wanted.mean()))


def test_a_class_that_is_nowhere_does_not_count_and_nothing_found_where_nothing_is_scores_one() -> None:
    nothing = [[[0, 0], [0, I]]]
    target = masks()
    assert float(target.score(said([[[0, 0], [0, 1]]]), labelled(nothing))) == 1
    assert float(target.score(said([[[0, 1], [0, 0]]]), labelled(nothing))) == 0
    assert float(target.score(said([[[0, 0], [0, 1]]]), labelled([[[0, 0], [0, 1]]]))) == 1
    assert torch.isnan(target.metrics(said([[[0, 0], [0, 0]]]), labelled(nothing))["iou of class 2"])


def test_the_loss_is_a_mean_over_pixels_that_count() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64)
    one = labelled([[[0, I], [2, 1]], [[1, I], [I, I]]])
    y = one.y.clone()
    y[y == I] = -100
    torch.testing.assert_close(masks().loss(prediction, one), F.cross_entropy(prediction, y))
    torch.testing.assert_close(masks().loss(prediction, one, 0.2), F.cross_entropy(prediction, y, label_smoothing=0.2))
    each = torch.stack([F.cross_entropy(p[None], t[None]) for p, t in zip(prediction, y, strict=True)])
    torch.testing.assert_close(masks().losses(prediction, one.y), each)
    padded = labelled(one.y.tolist(), [True, False])
    torch.testing.assert_close(masks().loss(prediction, padded), each[0])


def test_a_class_without_support_costs_nothing_and_is_never_said() -> None:
    target, support = masks(), labelled([[[0, 1], [0, I]]])
    state = target.seen(support)
    assert state["present"].tolist() == [True, True, False]
    prediction = target.among(torch.randn(1, 3, 2, 2), state)
    assert float(prediction[:, 2].max()) == ABSENT
    query = labelled([[[2, 2], [2, 1]]])
    assert float(target.loss(prediction, query)) == pytest.approx(float(-prediction[0].log_softmax(0)[1, 1, 1]))


def test_pixels_are_examples_and_come_back_where_they_were() -> None:
    target = masks(size=4)
    z = torch.randn(2, 7, 2, 2)
    one = labelled(torch.arange(32).remainder(3).reshape(2, 4, 4).tolist(), [True, False])
    one.y[0, 1, 3] = I
    rows, labels = target.rows(z), target.labels(one, z)
    assert rows.shape == (8, 7) and torch.equal(rows[5], z[1, :, 0, 1])
    assert labels.y[:4].tolist() == [int(one.y[0, 1, 1]), 0, int(one.y[0, 3, 1]), int(one.y[0, 3, 3])]
    assert labels.mask.tolist() == [True, False, True, True] + [False] * 4  # one is ignored, one example is padding
    exact = torch.randn(2, 7, 4, 4)
    assert torch.equal(target.together(target.rows(exact)[:, :3], exact), exact[:, :3])
    constant = target.together(torch.ones(8, 3), z)
    assert constant.shape == (2, 3, 4, 4) and torch.equal(constant, torch.ones_like(constant))


@pytest.mark.parametrize(
    ("values", "ids", "names"),
    [
        ([[0, 0], [1, 1]], [[0, 0], [1, 1]], ("background", "1")),
        ([[0, 255], [0, 255]], [[0, 1], [0, 1]], ("background", "foreground")),
        ([[0, 255], [7, 3]], [[0, I], [2, 1]], ("background", "3", "7")),
        ([[2, 2], [5, 2]], [[1, 1], [2, 1]], ("background", "2", "5")),
        ([[False, True], [False, False]], [[0, 1], [0, 0]], ("background", "foreground")),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]], ("background",)),
    ],
)
def test_values_become_classes(values: Any, ids: Any, names: tuple[str, ...]) -> None:
    y, found = masks().encode(np.array([values]))
    assert y.tolist() == [ids] and found == names


def test_without_a_background_the_least_value_is_the_first_class() -> None:
    y, names = masks(background=False).encode(np.array([[[2, 5], [5, 9]]]))
    assert y.tolist() == [[[0, 1], [1, 2]]] and names == ("2", "5", "9")


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([np.zeros((2, 2), int), np.zeros((3, 2), int)], ShapeError, "example 1 has the shape"),
        ([np.full((2, 2), 255), np.array([[0, 1], [2, 1]])], DataError, "example 0 labels no pixel"),
        ([np.zeros((2, 2))], DataError, "floating point"),
        ([np.full((2, 2), -3)], DataError, "from -3"),
        ([np.zeros((2, 2, 3), int)], ShapeError, "expected"),
        (["cat.png"], DataError, "example 0 is 'cat.png'"),
        ([], DataError, "no masks"),
    ],
)
def test_what_is_no_mask_is_refused(labels: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        masks().encode(labels)


def test_ids_that_no_class_has_are_refused() -> None:
    with pytest.raises(DataError, match="class id 3"):
        masks().check(torch.full((1, 2, 2), 3), "y", 1)
    with pytest.raises(ShapeError, match="size of their images"):
        masks().check(torch.zeros(1, 3, 3, dtype=torch.int64), "y", 1)


def test_maps_without_a_background_get_one_that_has_no_pixels() -> None:
    maps = LabelMaps(torch.tensor([[[0, 1], [-1, 1]], [[1, 1], [0, 0]]], dtype=torch.int16), ("cat", "dog"))
    y, names = masks().encode(maps)
    assert names == ("background", "cat", "dog") and y.tolist() == [[[1, 2], [I, 2]], [[2, 2], [1, 1]]]
    assert masks(background=False).encode(maps)[1] == ("cat", "dog")
    assert len(maps) == 2 and maps.chosen([1]).ids.tolist() == [[[1, 1], [0, 0]]]


def test_classes_that_the_model_does_not_know_are_refused_by_name() -> None:
    maps = LabelMaps(torch.tensor([[[0, 1], [1, 1]]], dtype=torch.int16), ("background", "dog"))
    assert masks().known(maps, ["background", "cat", "dog"]).tolist() == [[[0, 2], [2, 2]]]
    with pytest.raises(DataError, match="'dog', which is none of the adapted model"):
        masks().known(maps, ["background", "cat"])


def test_the_baseline_is_the_commonest_class_of_the_support_set_everywhere() -> None:
    support, query = labelled([[[1, 1], [I, I]], [[0, 2], [2, 2]]], [True, False]), labelled([[[0, 1], [2, 0]]])
    assert (masks().baseline(support, query).argmax(1) == 1).all()


def test_answers_tell_shares_and_doubt() -> None:
    probabilities = torch.tensor([[[[0.9, 0.6], [0.2, 0.5]], [[0.1, 0.4], [0.8, 0.5]]]])
    answer = masks(ways=2).answer(Distribution(probabilities.log()), ["background", "cat"])
    assert answer[0].tolist() == [[0, 0], [1, 0]] and answer.told(0) == "cat 25 %"
    torch.testing.assert_close(answer.doubt[0], torch.tensor([[0.1, 0.4], [0.2, 0.5]]))
    assert answer.table() == {
        "share of background": [0.75], "share of cat": [0.25], "doubt": [pytest.approx(0.3)],
    }  # fmt: skip
    torch.testing.assert_close(answer.prediction.softmax(1), probabilities)
    assert masks(ways=2).told(torch.tensor([[[0, I], [1, 1]]]), ()) == ["class 1 67 %"]

"""Classes against closed forms: what answers cost, how labels become ids, and what a support set has shown."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.errors import DataError
from quickstudy.registry import targets
from quickstudy.targets.distribution import Distribution

THREE = targets.make("classes", ways=3)


def labelled(y: list[int], known: list[bool] | None = None, z: Tensor | None = None) -> Examples:
    x = torch.zeros(len(y), 1) if z is None else z
    return Examples(x, torch.tensor(y), torch.tensor(known or [True] * len(y)))


def test_the_loss_is_the_mean_negative_logarithm_of_the_probability_of_real_examples() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1.0, 1e-30, 1e-30]], dtype=torch.float64)
    examples = labelled([0, 1, 2], [True, True, False])
    loss = THREE.loss(probabilities.log() + 7, examples)
    assert float(loss) == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_smoothing_mixes_the_label_with_an_equal_share_for_every_class() -> None:
    logs = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    wanted = -(0.7 * logs[0, 0] + 0.3 * logs[0].mean())
    torch.testing.assert_close(THREE.losses(logs, torch.tensor([0]), smoothing=0.3)[0], wanted)


def test_the_score_is_the_share_of_real_examples_whose_class_is_likeliest() -> None:
    prediction = torch.eye(3)[[0, 1, 1, 2]]
    examples = labelled([0, 1, 2, 2], [True, True, True, False])
    assert float(THREE.score(prediction, examples)) == pytest.approx(2 / 3)
    assert float(THREE.score(prediction, labelled([0] * 4, [False] * 4))) == 0


def test_coding_is_one_hot_and_zero_for_padding() -> None:
    coded = THREE.coded(labelled([2, 0, 0], [True, True, False]), torch.float64)
    assert coded.dtype == torch.float64 and coded.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("labels", "ids", "names"),
    [
        (["owl", "wren", "auk", "owl"], [1, 2, 0, 1], ("auk", "owl", "wren")),
        ([10, 9, 100, 9], [1, 0, 2, 0], ("9", "10", "100")),
        ([2.0, -1.0, 2.0], [1, 0, 1], ("-1.0", "2.0")),
        (["b", 3, "a", 20], [3, 0, 2, 1], ("3", "20", "a", "b")),
    ],
)
def test_names_are_numbered_by_size_and_then_by_the_alphabet(
    labels: list[Any], ids: list[int], names: tuple[str, ...]
) -> None:
    y, called = THREE.encode(labels)
    assert y.dtype == torch.int64 and y.tolist() == ids and called == names
    assert torch.equal(THREE.known(labels[::-1], called), y.flip(0))


def test_labels_that_are_no_names_are_refused_by_their_example() -> None:
    with pytest.raises(DataError, match="no label for example 1"):
        THREE.encode(["a", math.nan])
    with pytest.raises(DataError, match="no label for example 0"):
        THREE.encode([pytest.importorskip("pandas").NA, "a"])
    with pytest.raises(DataError, match=r"names the class 0\.5 for example 1, which looks like a quantity"):
        THREE.encode([1.0, 0.5])
    with pytest.raises(DataError, match="both written '1'"):
        THREE.encode([1, "1"])
    with pytest.raises(DataError, match=r"'tern' is not a class of the adapted model \(auk, owl\)"):
        THREE.known(["owl", "tern"], ("auk", "owl"))


def test_a_class_without_support_is_never_answered() -> None:
    support = labelled([0, 2, 1], [True, True, False])
    prediction = torch.tensor([[1.0, 50.0, 2.0]])
    probabilities = THREE.among(prediction, THREE.seen(support)).softmax(1)
    torch.testing.assert_close(probabilities[0, [0, 2]], torch.tensor([1.0, 2.0]).softmax(0))
    assert probabilities[0, 1] == 0


def test_only_queries_of_classes_in_the_support_set_can_be_answered() -> None:
    support = Examples(torch.zeros(1, 3, 1), torch.tensor([[0, 2, 1]]), torch.tensor([[True, True, False]]))
    query = Examples(torch.zeros(1, 4, 1), torch.tensor([[0, 1, 2, 2]]), torch.tensor([[True, True, True, False]]))
    assert THREE.answerable(support, query).tolist() == [[True, False, True, False]]


def test_the_baseline_is_the_most_frequent_real_class() -> None:
    support = labelled([1, 2, 2, 0, 0, 0], [True, True, True, True, False, False])
    assert THREE.chosen(THREE.baseline(support, labelled([0, 1]))).tolist() == [2, 2]  # type: ignore[union-attr]


def test_features_scatter_within_classes_and_between_their_means() -> None:
    z = torch.tensor([[1.0, 0.0], [3.0, 0.0], [6.0, 5.0], [8.0, 5.0], [99.0, 99.0]])
    examples = labelled([0, 0, 2, 2, 1], [True] * 4 + [False], z)
    weights = examples.mask / examples.mask.sum()
    within, between = THREE.scatter(z, (z - weights @ z) * weights.sqrt()[:, None], weights, examples)
    assert within.tolist() == pytest.approx([1.0, 0.0]) and between.tolist() == pytest.approx([2.5, 2.5])


def test_the_terms_of_the_likelihood_give_the_fisher_information_of_a_softmax() -> None:
    output = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda logits: THREE.terms(logits)[0], output)
    weights = THREE.terms(output)[1]
    p = output.softmax(0)
    torch.testing.assert_close(jacobian.T @ (weights[:, None] * jacobian), torch.diag(p) - torch.outer(p, p))


def test_an_answer_names_the_likeliest_class_and_can_be_judged() -> None:
    logs = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]).log()
    answer = THREE.answer(Distribution(logs), ["auk", "owl", "tern"])
    assert answer[0] == ("owl", pytest.approx(0.5)) and answer.told(1) == "auk (100 %)"
    assert torch.isfinite(answer.prediction).all()
    assert float(THREE.loss(answer.prediction, labelled([1, 0]))) == pytest.approx(-math.log(0.5) / 2)

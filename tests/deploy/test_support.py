"""What is said of a support set that contradicts itself, and what of it is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy.deploy.partly import say_doubtful
from quickstudy.errors import DataError
from quickstudy.formats.records import Placed
from quickstudy.masked import UNLABELLED
from quickstudy.registry import targets


def test_equal_examples_of_two_classes_and_classes_that_may_be_one_are_named(caplog: pytest.LogCaptureFixture) -> None:
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [3.0, 4.0]])
    y = torch.tensor([0, 1, 1, UNLABELLED, 1])
    records = [Path("a.png"), Placed("text", "b.csv, line 3"), "broken", None, None]
    with caplog.at_level(logging.WARNING, "quickstudy"):
        say_doubtful(x, y, ("Card", "card "), records, [0, 1, 3, 4], "inputs")
    assert [record.getMessage() for record in caplog.records] == [
        "1 classes have the name of another but for upper and lower case or spaces, such as 'Card' and 'card ': they "
        "are told apart, as two classes. Write them alike, if they are one.",
        "1 inputs are equal to one of another class, such as a.png (Card) and b.csv, line 3 (card ): nothing can tell "
        "them apart.",
    ]


def test_adapting_says_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = qs.RunConfig(
        name="s", learner=qs.registry.learners.part("protonet"), model=qs.registry.models.part("mlp", width=8),
        ways=2, shots=1, queries=1, iterations=1, validation_episodes=2, device="cpu", compile="off",
    )  # fmt: skip
    source = qs.tasks.arrays(torch.randn(60, 3), [i % 12 for i in range(60)])
    run = qs.train(replace(config, validate_every=1), source=source, out=tmp_path / "r", quiet=True)
    with caplog.at_level(logging.WARNING, "quickstudy"):
        run.adapt(torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [1.0, 2.0, 3.0]]), ["a", "a", "b"])
    assert "such as example 1 (a) and example 3 (b): nothing can tell them apart" in caplog.text


def test_blank_labels_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "quickstudy"):
        qs.tasks.arrays(torch.randn(40, 3), ["", " b", "c", "d", "e", "f", "g", "h"] * 5)
        say_doubtful(torch.randn(3, 2), torch.tensor([0, 1, 0]), (" ", "a"), None, [0, 1, 2], "inputs")
    assert [text.split(",")[0] for text in caplog.messages] == ["5 labels are blank", "2 labels are blank"]


@pytest.mark.parametrize("label", [None, float("nan")])
def test_a_label_of_nothing_is_no_class(label: object) -> None:
    with pytest.raises(DataError, match="y has no label for example 1"):
        targets.make("classes").encode(["a", label, "b"])

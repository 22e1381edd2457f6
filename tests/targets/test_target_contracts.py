"""Every registered target against its contract, and the suite against some that break it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.errors import DataError
from quickstudy.masked import masked_mean
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets import Classes, Metric, NumberAnswer, Numbers
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.units import Units
from quickstudy.testing import check_target


def _masks() -> Tensor:
    return torch.randint(0, 3, (4, 64, 64), generator=torch.Generator().manual_seed(0))


LABELS: dict[str, Any] = {
    "classes": ["owl", "wren", "owl", "tern"],
    "numbers": [0.5, 2.0, -1.0, 3.0],
    "masks": _masks(),
    "tags": [["red", "round"], [], "round; old", ["red"]],
    "sequence": ["an owl", "a wren", "terns"],
}


@pytest.mark.parametrize("name", [name for name in targets if name != "actions"])  # which nobody labels
def test_every_registered_target_keeps_the_contract(name: str) -> None:
    check_target(targets.make(name), LABELS[name])


@pytest.mark.parametrize("options", [{"count": 3}, {"size": 2, "low": -2.0, "high": 2.0}, {"count": 3, "rules": 2}])
def test_actions_say_what_was_done_and_what_came_of_it(options: dict[str, Any]) -> None:
    target = targets.make("actions", episodes=2, **options)
    keys = torch.arange(5)
    said = torch.randn(5, target.outputs, generator=torch.Generator().manual_seed(0)).clamp(-1.5, 1.5)
    action = target.sample(said, keys)
    facts = torch.arange(25.0).view(5, 5).unbind(0)
    rules = torch.randn(5, target.rules)
    told = target.outcome(target.label(action, *facts, rules))
    assert torch.equal(told.action, action) and all(map(torch.equal, told[1:], (*facts, rules)))
    assert not target.outcome(target.label(action, *facts)).rules.any(), "not known"
    logits = said[:, :-1].log_softmax(-1) if target.count else None
    if logits is not None:
        torch.testing.assert_close(target.log_prob(said, action), logits[torch.arange(5), action])
        torch.testing.assert_close(target.entropy(said), -(logits.exp() * logits).sum(1))
    else:
        normal = torch.distributions.Normal(said[:, :2], said[:, 2:4].exp())
        torch.testing.assert_close(target.log_prob(said, action), normal.log_prob(action).sum(1))
        torch.testing.assert_close(target.entropy(said), normal.entropy().sum(1))
    spec = TaskSpec(formats.make("steps", observation=(1,)), target)
    assert TaskSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    with pytest.raises(DataError, match="has no labels"):
        target.encode([1, 0])


def test_actions_are_drawn_as_often_as_they_are_likely() -> None:
    target = targets.make("actions", count=3)
    said = torch.tensor([0.0, 1.0, -1.0, 7.0])
    shares = target.sample(said.expand(20_000, 4), torch.arange(20_000)).bincount(minlength=3) / 20_000
    torch.testing.assert_close(shares, said[:3].softmax(0), atol=0.015, rtol=0)


@pytest.mark.parametrize("labels", [[3, 11, 2, 3], torch.tensor([1, 0, 0, 1]), ["10", "9", "9", "1"]])
def test_classes_of_any_name_keep_the_contract(labels: Any) -> None:
    check_target(targets.make("classes"), labels)


@pytest.mark.parametrize("shape", [(), (2,), (2, 2)])
def test_numbers_of_any_shape_keep_the_contract(shape: tuple[int, ...]) -> None:
    labels = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    check_target(targets.make("numbers", shape=shape, units="m"), labels)


class _CountsPadding(Classes):
    """A loss over all examples."""

    def loss(self, prediction: Tensor, examples: Examples, smoothing: float = 0.0) -> Tensor:
        return self.losses(prediction, examples.y, smoothing).mean()


class _CountsPaddedLabels(Numbers):
    """A baseline over all examples."""

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        return support.y.mean(0).expand_as(query.y)


class _Climbs(Classes):
    """A loss whose sign is wrong where it is computed, but not in its gradient."""

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        cost = super().losses(prediction, y, smoothing)
        return cost - 2 * cost.detach()


class _Detached(Numbers):
    """A loss without a gradient."""

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        return super().losses(prediction.detach(), y)


class _Backwards(Numbers):
    """An error of which more is said to be better."""

    metric = Metric("backwards", "error", "error", higher_is_better=True)


class _Overflowing(Classes):
    """A figure in per cent that is more than all."""

    def score(self, prediction: Tensor, examples: Examples) -> Tensor:
        return 2 * masked_mean(self.scores(prediction, examples.y), examples.mask)


class _Peeking(Numbers):
    """A baseline that has seen the answers."""

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        return query.y


class _Blunt(Numbers):
    """Answers in whole numbers only."""

    def answer(self, said: Distribution, names: Sequence[str], units: Units | None = None) -> NumberAnswer:
        return NumberAnswer(said.mean.round() + 1)


class _Renamed(Classes):
    """Tells classes by names of its own."""

    def told(self, y: Tensor, names: Sequence[str]) -> list[str]:
        return [names[-1 - i] for i in y.tolist()]


class _Tolerant(Numbers):
    """Fills labels that are missing."""

    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        return super().encode([0.0 if label is None else label for label in labels])


class _Unsure(Numbers):
    """A density that grows with the distance."""

    def surprise(self, said: Distribution, y: Tensor) -> Tensor:
        return -super().surprise(said, y)


@dataclass(frozen=True, kw_only=True)
class _Forgetful(Numbers):
    """Equal only to itself."""

    since: object = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "since", [0] if self.since is None else [*self.since, 1])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (_CountsPadding, "masked example counts in the loss"),
        (_CountsPaddedLabels, "masked example counts in the baseline"),
        (_Climbs, "does not fall along its gradient"),
        (_Detached, "has no gradient"),
        (_Backwards, "and higher is better"),
        (_Overflowing, "must lie in"),
        (_Peeking, "knows the labels of the queries|counts in the baseline"),
        (_Blunt, "labels as an answer score"),
        (_Renamed, "names that `told` gives"),
        (_Tolerant, "A label that is missing must be refused by DataError, but was taken"),
        (_Unsure, "surprises no more"),
        (_Forgetful, "another one after it was stored as JSON"),
    ],
)
def test_targets_that_break_the_contract_are_named(broken: Any, said: str) -> None:
    targets.register(broken.__name__)(broken)
    try:
        with pytest.raises(AssertionError, match=said):
            check_target(broken(), LABELS["classes" if issubclass(broken, Classes) else "numbers"])
    finally:
        targets._entries.pop(broken.__name__)

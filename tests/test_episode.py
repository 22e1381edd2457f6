"""Episodes as tensors, the refusal of tensors that do not fit, and losses that never count padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_tasks import (
    VALUES,
    VECTORS,
    episodes,
    examples,
    numbers,
)
from torch import Tensor

from quickstudy.episode import Examples, stack, task
from quickstudy.errors import DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.layout import Leaf
from quickstudy.formats.records import Broken, Stored
from quickstudy.spec import TaskSpec, check_episode, check_examples

NAN, INF = float("nan"), float("inf")
GOOD, VALUED = examples(VECTORS, 6), examples(VALUES, 6)
MANY = examples(VECTORS, 6, tasks=2)


def spoiled(values: Tensor | Any, at: tuple[int, ...], value: float) -> Tensor:
    values = values.clone()
    values[at] = value
    return values


@pytest.mark.parametrize("tasks", [None, 2])
@pytest.mark.parametrize("spec", [VECTORS, VALUES])
def test_what_fits_is_accepted(spec: TaskSpec, tasks: int | None) -> None:
    check_episode(episodes(spec, tasks=tasks), spec, tasks=tasks is not None)


@pytest.mark.parametrize(
    ("part", "spec", "error", "message"),
    [
        (GOOD._replace(mask=GOOD.mask.int()), VECTORS, ShapeError, r"support\.mask must be bool .*found torch\.int32"),
        (GOOD._replace(mask=GOOD.mask[None]), VECTORS, ShapeError, r"axes \('example',\), found shape \(1, 6\)"),
        (
            GOOD._replace(x=GOOD.x[:4]),
            VECTORS,
            ShapeError,
            r"support\.x has size 4 along the example axis \(axis 0\), .*6",
        ),
        (GOOD._replace(y=GOOD.y[:5]), VECTORS, ShapeError, r"support\.y has size 5 along the example axis.* has 6"),
        (GOOD._replace(y=GOOD.y[0]), VECTORS, ShapeError, r"support\.y has size None along the example axis"),
        (GOOD._replace(x=GOOD.x[:, :4]), VECTORS, ShapeError, r"support\.x has size 4 along axis 1, expected 5"),
        (
            GOOD._replace(x=GOOD.x[..., None]),
            VECTORS,
            ShapeError,
            r"must have 1 axes .* \(5,\); found 2, of sizes \(5, 1\)",
        ),
        (GOOD._replace(x=GOOD.x.long()), VECTORS, ShapeError, r"support\.x must be floating point, found torch\.int64"),
        (GOOD._replace(y=GOOD.y.int()), VECTORS, ShapeError, r"must be int64, found torch\.int32\. Use y\.long\(\)"),
        (
            GOOD._replace(y=GOOD.y[:, None]),
            VECTORS,
            ShapeError,
            r"support\.y holds class ids and must have 1 axes, found the shape \(6, 1\)",
        ),
        (GOOD._replace(y=GOOD.y + 1), VECTORS, DataError, r"from 1 to 3, but this is a 3-way task: .* \[0, 3\)"),
        (GOOD._replace(y=GOOD.y - 1), VECTORS, DataError, r"from -1 to 1, .* from 0, and give padding the id 0"),
        (GOOD._replace(x=spoiled(GOOD.x, (3, 2), NAN)), VECTORS, DataError, r"support\.x holds NaN or infinite values"),
        (
            VALUED._replace(y=spoiled(VALUED.y, (3, 1), INF)),
            VALUES,
            DataError,
            r"support\.y holds NaN or infinite values",
        ),
        (VALUED._replace(y=VALUED.y[:, :1]), VALUES, ShapeError, r"support\.y has the shape \(1,\) .* expected \(2,\)"),
        (
            VALUED._replace(y=VALUED.y.long()),
            VALUES,
            ShapeError,
            r"support\.y holds numbers and must be floating",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_axis_and_both_sizes(
    part: Examples, spec: TaskSpec, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_examples(part, spec)


def test_with_a_task_axis_the_axes_are_counted_after_it() -> None:
    with pytest.raises(ShapeError, match=r"query\.x has size 1 along the task axis \(axis 0\), but query\.mask has 2"):
        check_examples(MANY._replace(x=MANY.x[:1]), VECTORS, "query", tasks=True)  # type: ignore[index]
    with pytest.raises(ShapeError, match=r"along axis 2, expected 5"):
        check_examples(MANY._replace(x=MANY.x[..., :2]), VECTORS, tasks=True)  # type: ignore[index]
    with pytest.raises(ShapeError, match=r"\('task', 'example'\), found shape \(6,\)"):
        check_examples(GOOD, VECTORS, tasks=True)


def test_padding_must_be_finite_too_because_zero_times_nan_is_nan() -> None:
    mask = spoiled(GOOD.mask, (5,), False)
    check_examples(GOOD._replace(mask=mask), VECTORS)
    with pytest.raises(DataError, match="padding, where the mask is False, with 0"):
        check_examples(GOOD._replace(mask=mask, x=spoiled(GOOD.x, (5, 0), NAN)), VECTORS)
    with pytest.raises(DataError, match="give padding the id 0"):
        check_examples(GOOD._replace(mask=mask, y=spoiled(GOOD.y, (5,), -1)), VECTORS)


@dataclass(frozen=True)
class Weighted(Format):
    """Three tokens and their weights."""

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"tokens": Leaf((3,), torch.int64), "weights": Leaf((3,))}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return Stored(records, list(range(len(records["weights"]))), [])


def test_every_tensor_of_several_is_checked() -> None:
    spec, good = TaskSpec(Weighted(), VECTORS.target), {"tokens": torch.zeros(6, 3).long(), "weights": torch.ones(6, 3)}
    several = GOOD._replace(x=good)
    check_examples(several, spec)
    for wrong, error, message in (
        ({"tokens": torch.zeros(5, 3).long()}, ShapeError, r"support\.x\['tokens'\] has size 5 along the example axis"),
        ({"tokens": torch.zeros(6, 3)}, ShapeError, r"support\.x\['tokens'\] must be whole numbers"),
        ({"weights": torch.ones(6, 2)}, ShapeError, r"support\.x\['weights'\] has size 2 along axis 1, expected 3"),
        ({"weights": torch.full((6, 3), NAN)}, DataError, r"support\.x\['weights'\] holds NaN"),
        ({"more": torch.ones(6, 3)}, ShapeError, r"the tensors 'tokens', 'weights', 'more', expected"),
    ):
        with pytest.raises(error, match=message):
            check_examples(several._replace(x=good | wrong), spec)
    with pytest.raises(ShapeError, match="has the tensors 'tokens', expected 'tokens', 'weights'"):
        check_examples(GOOD, spec)


def test_taking_the_tasks_of_a_batch_apart_and_stacking_them_is_the_identity() -> None:
    batch = episodes(VECTORS)
    again = stack([task(batch, i) for i in range(3)])
    for part, other in zip(batch, again, strict=True):
        for one, two in zip(part, other, strict=True):
            assert torch.equal(one, two)  # type: ignore[arg-type]


def test_losses_are_means_over_the_real_examples() -> None:
    mask = torch.tensor([True, False, True, True, False, True])
    scores, part = torch.randn(6, 3, dtype=torch.float64), GOOD._replace(mask=mask)
    cost = VECTORS.target.loss(scores, part, smoothing=0.1)
    torch.testing.assert_close(cost, F.cross_entropy(scores[mask], part.y[mask], label_smoothing=0.1))
    right = (scores.argmax(1) == part.y)[mask].double().mean()
    torch.testing.assert_close(VECTORS.target.score(scores, part), right)
    values, valued = torch.randn(6, 2, dtype=torch.float64), VALUED._replace(mask=mask)
    torch.testing.assert_close(VALUES.target.loss(values, valued), F.mse_loss(values[mask], valued.y[mask]))
    assert VECTORS.target.loss(scores, part._replace(mask=torch.zeros_like(mask))) == 0


def test_a_scalar_target_needs_no_axis_of_its_own() -> None:
    spec, y = numbers((5,), ()), torch.randn(6, dtype=torch.float64)
    part = Examples(GOOD.x, y, GOOD.mask)
    check_examples(part, spec)
    torch.testing.assert_close(spec.target.loss(torch.zeros(6, dtype=torch.float64), part), y.square().mean())
    assert spec.outputs == 1

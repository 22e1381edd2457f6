"""Closed-form heads against their formulas, computed the long way."""

from __future__ import annotations

import math

import pytest
import torch
from small_tasks import (
    classes,
    examples,
    numbers,
)
from torch import Tensor

from quickstudy.episode import Examples, Params
from quickstudy.heads import Attention, Head, Logistic, Prototypes, Ridge
from quickstudy.spec import TaskSpec

SPEC = classes((4,), 3)
ABSENT = 2


@pytest.fixture
def support() -> Examples:
    """Seven examples, the third and the last of which are padding."""
    x, y, mask = examples(SPEC, 7)
    mask[2] = mask[6] = False
    return Examples(x, y, mask)


@pytest.fixture
def query() -> Tensor:
    return torch.randn(5, 4, dtype=torch.float64)


def logits(head: Head, support: Examples, query: Tensor, params: Params | None = None, spec: TaskSpec = SPEC) -> Tensor:
    params = {n: p.double() for n, p in (head.init(spec) if params is None else params).items()}
    assert isinstance(support.x, Tensor)
    return head.logits(params, head.fit(params, support.x, support, spec), query, spec)


def without_class(support: Examples, absent: int) -> Examples:
    return support._replace(mask=support.mask & (support.y != absent))


def test_prototypes_are_class_means_and_logits_minus_squared_distances(support: Examples, query: Tensor) -> None:
    found = logits(Prototypes(temperature=0.5), support, query)
    for c in range(3):
        mean = torch.stack([x for x, y, m in zip(*support, strict=True) if m and y == c]).mean(0)
        torch.testing.assert_close(found[:, c], torch.stack([-0.5 * (q - mean).norm() ** 2 for q in query]))


def test_cosine_prototypes_ignore_the_length_of_queries_and_scale_with_the_temperature(
    support: Examples, query: Tensor
) -> None:
    head = Prototypes("cosine", temperature=7.0, learn_temperature=True)
    found = logits(head, support, query)
    torch.testing.assert_close(found, logits(head, support, 3 * query))
    unit = [x / x.norm() for x in support.x]
    for c in range(3):
        mean = torch.stack([u for u, y, m in zip(unit, support.y, support.mask, strict=True) if m and y == c]).mean(0)
        cosine = torch.stack([q @ mean / q.norm() / mean.norm() for q in query])
        torch.testing.assert_close(found[:, c], 7.0 * cosine, rtol=1e-6, atol=1e-6)
    doubled = {"log_scale": torch.tensor(math.log(14.0))}
    torch.testing.assert_close(logits(head, support, query, doubled), 2 * found, rtol=1e-6, atol=1e-6)


def test_attention_is_the_weighted_vote_of_the_support(support: Examples, query: Tensor) -> None:
    probabilities = logits(Attention(temperature=3.0), support, query).softmax(1)
    for q, found in zip(query, probabilities, strict=True):
        votes = torch.zeros(3, dtype=torch.float64)
        for x, y, m in zip(*support, strict=True):
            if m:
                votes[y] += torch.exp(3.0 * (q @ x) / q.norm() / x.norm())
        torch.testing.assert_close(found, votes / votes.sum())


@pytest.mark.parametrize("head", [Prototypes(), Prototypes("cosine"), Attention(), Ridge(), Logistic()])
def test_a_class_without_support_gets_no_probability_and_leaves_the_gradient_finite(
    head: Head, support: Examples, query: Tensor
) -> None:
    query = query.requires_grad_()
    found = logits(head, without_class(support, ABSENT), query)
    assert (found.softmax(1)[:, ABSENT] < 1e-30).all()
    found[:, :ABSENT].log_softmax(1).sum().backward()
    assert query.grad is not None
    assert query.grad.isfinite().all()


def test_ridge_solves_the_normal_equations(support: Examples, query: Tensor) -> None:
    """(ZᵀZ + λI) W = ZᵀY over the real examples, with a constant feature; logits are scaled and shifted."""
    params = {"log_regularisation": torch.tensor(0.3), "scale": torch.tensor(2.0), "offset": torch.tensor(-0.5)}
    real = support.mask
    z = torch.cat([support.x[real], torch.ones(5, 1, dtype=torch.float64)], 1)
    y = torch.eye(3, dtype=torch.float64)[support.y[real]]
    penalty = torch.tensor(0.3).double().exp() * torch.eye(5, dtype=torch.float64)
    weights = torch.linalg.solve(z.T @ z + penalty, z.T @ y)
    wanted = 2 * (torch.cat([query, torch.ones(5, 1, dtype=torch.float64)], 1) @ weights) - 0.5
    torch.testing.assert_close(logits(Ridge(), support, query, params), wanted)


@pytest.mark.parametrize("target_shape", [(2,), (), (2, 3)])
def test_ridge_regression_goes_to_least_squares_as_the_penalty_vanishes(target_shape: tuple[int, ...]) -> None:
    spec = numbers((4,), target_shape)
    data = examples(spec, 12)
    z = torch.cat([data.x, torch.ones(12, 1, dtype=torch.float64)], 1)  # type: ignore[list-item]
    solution = torch.linalg.lstsq(z, data.y.reshape(12, -1)).solution
    errors = []
    for penalty in (1e-2, 1e-4, 1e-6):
        found = logits(Ridge(penalty), data, data.x, spec=spec)  # type: ignore[arg-type]
        errors.append(float((found.reshape(12, -1) - z @ solution).abs().max()))
        assert found.shape == data.y.shape
    assert errors[2] < 1e-6
    assert list(Ridge().init(spec)) == ["log_regularisation"]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)


def test_the_heads_work_in_float32_where_the_network_gives_less() -> None:
    from quickstudy.heads import full_precision

    with torch.autocast("cpu", torch.bfloat16), full_precision(torch.randn(3, 3, dtype=torch.bfloat16)) as z:
        assert (z @ z).dtype == torch.float32


@pytest.mark.parametrize("regularisation", [1.0, 0.1, 0.003])
@pytest.mark.parametrize(("count", "ways", "size"), [(5, 5, 30), (25, 5, 30), (60, 4, 6)])
def test_logistic_regression_is_at_its_minimum(regularisation: float, count: int, ways: int, size: int) -> None:
    """Against L-BFGS on the loss as it is written down, in its D · N + N unknowns; an intercept is free."""
    spec = classes((size,), ways)
    (x, y, mask), shift = examples(spec, count + 3, seed=2), 2.0
    mask[-3:] = False
    z = torch.nn.functional.normalize(x + shift, dim=1)  # type: ignore[operator]
    head = Logistic(regularisation)
    found = head.fit({}, z, Examples(z, y, mask), spec)["weights"]
    w = torch.zeros((size + 1, ways), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [w], max_iter=4000, tolerance_grad=1e-11, tolerance_change=1e-15, history_size=50, line_search_fn="strong_wolfe"
    )

    def loss(weights: Tensor) -> Tensor:
        logits = z[mask] @ weights[:-1] + weights[-1]
        chosen = -logits.log_softmax(1)[range(count), y[mask]]
        return chosen.sum() + regularisation / 2 * weights[:-1].square().sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(w)
        value.backward()
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    wanted = w.detach() - torch.cat([torch.zeros(size, ways), w.detach()[-1:].mean(1, keepdim=True).expand(1, ways)])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    assert float(loss(found)) <= float(loss(w)) * (1 + 1e-9)

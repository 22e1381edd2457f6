"""What embeddings of training classes are like, where it is known how they were made."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from quickstudy.episode import Examples
from quickstudy.trust.space import Space, expected, likely, space_of

WITHIN, APART = torch.tensor([0.5, 2.0, 1.0, 1.0]), torch.tensor([3.0, 3.0, 0.0, 1.0])


def made(classes: int, each: int, seed: int, between: Tensor = APART) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    means = 5 + between * torch.randn((classes, len(between)), generator=generator)
    z = means[:, None] + WITHIN * torch.randn((classes, each, len(between)), generator=generator)
    return z.flatten(0, 1), torch.arange(classes).repeat_interleave(each)


def found(classes: int = 400, each: int = 10) -> Space:
    space = space_of(*made(classes, each, 0))
    assert space is not None
    return space


def test_directions_are_those_in_which_classes_differ_most_for_the_spread_of_their_examples() -> None:
    """Spreads are drawn halfway to their mean: 0.25, 4, 1 and 1 become 0.906, 2.78, 1.28 and 1.28, about 1.5625."""
    shrunk = (WITHIN.square() + WITHIN.square().mean()) / 2
    means = APART.square() + WITHIN.square() / 10 - shrunk / 10  # examples' own part, less what is taken out for it
    exact = (means / shrunk).sort(descending=True).values
    space = found()
    for one, other in zip(space.between[:3], exact.tolist(), strict=False):
        assert one == pytest.approx(other, rel=0.15)
    z, _ = made(1, 2, 5)
    assert space.at(z, z[:1]).asked.shape == (1, len(space.between))


def test_embeddings_that_do_not_vary_have_no_space() -> None:
    assert space_of(torch.ones(20, 3), torch.arange(20) // 5) is None


def test_the_likelihood_ratio_is_that_of_two_normal_distributions() -> None:
    """One class with two examples: of an input and these, by the joint densities."""
    space = found()
    known, asked = made(1, 2, 3)[0], made(3, 1, 4)[0]
    at = space.at(known, asked)
    said = likely(Examples(known, torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)), at, 1)
    between = torch.diag(at.between)
    eye = torch.eye(len(at.between), dtype=torch.float64)

    def density(*parts: Tensor) -> float:
        x = torch.cat(parts)
        cov = torch.kron(torch.ones((len(parts),) * 2, dtype=x.dtype), between)
        cov = cov + torch.kron(torch.eye(len(parts), dtype=x.dtype), eye)
        return float(torch.distributions.MultivariateNormal(torch.zeros_like(x), cov).log_prob(x))

    for row, one in zip(said.tolist(), at.asked, strict=True):
        exact = density(*at.own, one) - density(*at.own) - density(one)
        assert row[0] == pytest.approx(exact, abs=1e-6)
        assert row[1] == pytest.approx(exact, abs=1e-6)


def test_the_expected_accuracy_is_that_of_two_normal_classes() -> None:
    """In the space, examples vary by 1: two classes with many examples at a distance d are told apart in Φ(d / 2)."""
    space = found()
    generator = torch.Generator().manual_seed(0)
    r = len(space.between)
    means = torch.tensor([[-0.8] + [0.0] * (r - 1), [0.8] + [0.0] * (r - 1)], dtype=torch.float64)
    x = (means[:, None] + torch.randn((2, 4000, r), generator=generator, dtype=torch.float64)).flatten(0, 1)
    at = space.at(torch.zeros(1, space.size), torch.zeros(1, space.size))._replace(own=x)
    y = torch.arange(2).repeat_interleave(4000)
    angle = float(expected(Examples(x, y, torch.ones(8000, dtype=torch.bool)), at, 3))
    assert math.sin(angle) ** 2 == pytest.approx(0.5 * (1 + math.erf(0.8 / math.sqrt(2))), abs=0.01)


def test_examples_that_do_not_count_change_nothing() -> None:
    space = found()
    z, y = made(3, 4, 6)
    asked = made(2, 2, 7)[0]
    mask = torch.ones(12, dtype=torch.bool)
    one = Examples(z, y, mask), space.at(z, asked)
    more = torch.cat([z, 100 * torch.ones(2, 4)])
    two = Examples(more, torch.cat([y, torch.tensor([0, 1])]), torch.cat([mask, ~mask[:2]])), space.at(more, asked)
    assert torch.allclose(likely(*one, 3), likely(*two, 3))
    assert torch.allclose(expected(*one, 3), expected(*two, 3))

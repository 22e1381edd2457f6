"""FEAT's adapted prototypes and its regulariser, one vector at a time."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from small_tasks import VECTORS, episodes, generator, perceptron, random_params
from torch import Tensor, nn

from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.learners import feat
from quickstudy.models import SetAttention
from quickstudy.testing import check_learner

EPISODE = episodes(VECTORS, tasks=None)


def adapted(params: Params, points: list[Tensor]) -> list[Tensor]:
    """One layer of self-attention (Ye et al. 2020, after Vaswani et al. 2017)."""
    own = {n.removeprefix("transform.network."): v for n, v in params.items() if n.startswith("transform.")}
    result = []
    for z in points:
        query = own["query.weight"] @ z
        alike = torch.stack([query @ (own["key.weight"] @ other) / math.sqrt(len(z)) for other in points])
        alpha = alike.exp() / alike.exp().sum()
        mixed = sum((a * (own["value.weight"] @ other) for a, other in zip(alpha, points, strict=True)), 0 * z)
        h = z + own["out.weight"] @ mixed + own["out.bias"]
        h = (h - h.mean()) / (h.var(correction=0) + 1e-5).sqrt()
        result.append(own["norm.weight"] * h + own["norm.bias"])
    return result


def nearness(z: Tensor, centres: list[Tensor], temperature: float) -> Tensor:
    return torch.stack([torch.stack([-temperature * ((a - c) ** 2).sum() for c in centres]) for a in z])


def test_queries_are_compared_with_prototypes_that_have_seen_each_other() -> None:
    learner = feat(perceptron(VECTORS, 4), VECTORS, temperature=0.3, contrast=0.0)
    params = random_params(learner.init(generator()))
    z, q = (learner.network(params, part.x) for part in EPISODE)
    prototypes = adapted(params, [z[EPISODE.support.y == c].mean(0) for c in range(3)])
    logits = nearness(q, prototypes, 0.3)
    torch.testing.assert_close(learner.predict(params, learner.adapt(params, EPISODE.support), EPISODE.query.x), logits)
    torch.testing.assert_close(learner.loss(params, EPISODE), F.cross_entropy(logits, EPISODE.query.y))


def test_the_regulariser_adapts_the_examples_of_each_class_as_a_set() -> None:
    plain = feat(perceptron(VECTORS, 4), VECTORS, contrast=0.0)
    learner = feat(perceptron(VECTORS, 4), VECTORS, contrast=0.7, contrast_temperature=0.2)
    params = random_params(learner.init(generator()))
    z = torch.cat([learner.network(params, part.x) for part in EPISODE])
    y = torch.cat([part.y for part in EPISODE])
    centres = [torch.stack(adapted(params, list(z[y == c]))).mean(0) for c in range(3)]
    wanted = F.cross_entropy(nearness(z, centres, 0.2), y)
    torch.testing.assert_close(learner.loss(params, EPISODE) - plain.loss(params, EPISODE), 0.7 * wanted)
    padded = EPISODE._replace(support=EPISODE.support._replace(mask=torch.tensor([True] * 5 + [False])))
    shorter = EPISODE._replace(support=type(EPISODE.support)(*(t[:5] for t in EPISODE.support)))  # type: ignore[index, arg-type]
    torch.testing.assert_close(learner.loss(params, padded), learner.loss(params, shorter))


def test_a_class_without_support_is_seen_by_no_prototype() -> None:
    learner = feat(perceptron(VECTORS, 4), VECTORS)
    params = random_params(learner.init(generator()))
    few = EPISODE.support._replace(mask=EPISODE.support.y != 2)
    two = learner.at(VECTORS.at(2))
    kept = type(few)(*(t[few.y != 2] for t in few))  # type: ignore[index, arg-type]
    found = learner.predict(params, learner.adapt(params, few), EPISODE.query.x)
    torch.testing.assert_close(found[:, :2], two.predict(params, two.adapt(params, kept), EPISODE.query.x))
    assert (found[:, 2] < -1e8).all()


class Sums(nn.Module):
    """A deep set (Zaheer et al. 2017): each point with the sum of those it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 4)

    def forward(self, points: Tensor, sets: Tensor, mask: Tensor) -> Tensor:
        among = ((sets[:, None] == sets) & mask).to(points.dtype)
        mixed: Tensor = self.mix(torch.cat([points, among @ points], 1))
        return points + mixed


def test_a_function_of_sets_of_one_s_own_conforms() -> None:
    check_learner(feat(perceptron(VECTORS, 4), VECTORS, Sums().double(), temperature=1.0), episodes(VECTORS))


def test_self_attention_commutes_with_reordering_and_sees_its_own_set_only() -> None:
    layer = SetAttention(4).double()
    points, sets, mask = torch.randn(6, 4).double(), torch.tensor([0, 1, 0, 1, 1, 0]), torch.ones(6).bool()
    order = torch.randperm(6)
    torch.testing.assert_close(layer(points[order], sets[order], mask[order]), layer(points, sets, mask)[order])
    own = sets == 0
    torch.testing.assert_close(layer(points, sets, mask)[own], layer(points[own], sets[own], mask[own]))


def test_weights_below_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match="contrast cannot be negative"):
        feat(perceptron(VECTORS, 4), VECTORS, contrast=-1.0)

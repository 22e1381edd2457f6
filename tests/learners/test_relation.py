"""Relation networks, against the paper's equations; maps, padding, modules of one's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from small_tasks import IMAGES, VECTORS, episodes, generator, perceptron, random_params
from torch import Tensor, nn

from quickstudy.episode import Episode, Examples
from quickstudy.errors import ModelError
from quickstudy.learners import relationnet
from quickstudy.testing import check_learner

EPISODE = episodes(VECTORS, tasks=None)


def scores(params: dict[str, Tensor], z: Tensor, q: Tensor, pool: str) -> Tensor:
    """r_ij = σ(g(C(class i, query j))) (Sung et al. 2018, equation 1), one pair at a time."""
    rows = []
    for one in q:
        row = []
        for c in range(3):
            own = z[EPISODE.support.y == c]
            pair = torch.cat([own.sum(0) if pool == "sum" else own.mean(0), one])
            hidden = (params["relation.network.hidden.weight"] @ pair + params["relation.network.hidden.bias"]).relu()
            row.append(params["relation.network.score.weight"] @ hidden + params["relation.network.score.bias"])
        rows.append(torch.cat(row))
    return torch.stack(rows)


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_scores_and_squared_error_are_the_paper_s(pool: str) -> None:
    learner = relationnet(perceptron(VECTORS, 4), VECTORS, pool=pool, width=7)  # type: ignore[arg-type]
    params = random_params(learner.init(generator()))
    z, q = (learner.network(params, part.x) for part in EPISODE)
    g = scores(params, z, q, pool)
    found = learner.predict(params, learner.adapt(params, EPISODE.support), EPISODE.query.x)
    torch.testing.assert_close(found.exp(), 1 / (1 + (-g).exp()))
    loss, accuracy = learner.score(params, EPISODE)
    own = F.one_hot(EPISODE.query.y, 3).double()
    torch.testing.assert_close(loss, (1 / (1 + (-g).exp()) - own).square().mean())  # equation 2, as a mean
    torch.testing.assert_close(accuracy, (g.argmax(1) == EPISODE.query.y).double().mean())


def test_with_cross_entropy_the_relation_gives_logits() -> None:
    learner = relationnet(perceptron(VECTORS, 4), VECTORS, loss="cross-entropy", width=7)
    params = random_params(learner.init(generator()))
    z, q = (learner.network(params, part.x) for part in EPISODE)
    torch.testing.assert_close(
        learner.loss(params, EPISODE), F.cross_entropy(scores(params, z, q, "mean"), EPISODE.query.y)
    )


def test_padding_and_classes_without_support_count_for_nothing() -> None:
    learner = relationnet(perceptron(VECTORS, 4), VECTORS)
    params = random_params(learner.init(generator()))
    support, query = EPISODE
    few = Episode(support._replace(mask=support.y != 2), query._replace(mask=query.y != 2))
    assert isinstance(support.x, Tensor)
    assert isinstance(query.x, Tensor)
    two = learner.at(VECTORS.at(2))
    kept = [Examples(p.x[p.y != 2], p.y[p.y != 2], p.mask[p.y != 2]) for p in EPISODE]  # type: ignore[index]
    torch.testing.assert_close(learner.loss(params, few), two.loss(params, Episode(*kept)))


def test_maps_are_compared_by_convolutions_that_know_where_things_are() -> None:
    encoder = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh()).double()  # (n, 3, 2, 2)
    learner = relationnet(encoder, IMAGES, width=4)
    shapes = {n: tuple(v.shape) for n, v in learner.init(generator()).items() if n.startswith("relation.")}
    assert shapes["relation.network.block1.conv.weight"] == (4, 6, 3, 3)
    assert shapes["relation.network.hidden.weight"] == (8, 4)
    for norm in ("running", "batch"):
        made = relationnet(encoder, IMAGES, width=4, norm=norm)  # type: ignore[arg-type]
        assert made.transductive == (norm == "batch")
        check_learner(made, episodes(IMAGES, tasks=2))
    params = learner.calibrate(random_params(learner.init(generator())), [episodes(IMAGES, tasks=None)])
    assert {n for n in params if "statistics" in n} == {
        f"relation.statistics.network.block{i}.norm.{kind}" for i in (1, 2) for kind in ("mean", "variance")
    }


def test_a_relation_of_one_s_own_is_probed() -> None:
    module = perceptron(VECTORS, 4).float()
    learner = relationnet(module, VECTORS, nn.Sequential(nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 1)))
    assert learner.init(generator())["relation.network.0.weight"].shape == (3, 8)
    with pytest.raises(ModelError, match=r"gives the shape \(3, 2\) for 3 pairs \(8,\)"):
        relationnet(module, VECTORS, nn.Linear(8, 2))
    with pytest.raises(ModelError, match="cannot take an input"):
        relationnet(module, VECTORS, nn.Linear(7, 1))
    with pytest.raises(ModelError, match="one number for an example"):
        relationnet(nn.Sequential(nn.Linear(5, 1), nn.Flatten(0)), VECTORS)

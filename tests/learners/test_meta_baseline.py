"""Meta-Baseline's logits, against the paper's equations."""

from __future__ import annotations

import math

import torch
from small_tasks import VECTORS, episodes, generator, perceptron, random_params

from quickstudy.learners import meta_baseline, protonet


def test_logits_are_scaled_cosines_to_the_means_of_embeddings_as_they_are() -> None:
    """w_c = mean of f(x) over class c; p(c | x) = softmax of τ cos(f(x), w_c) (Chen et al. 2021)."""
    learner = meta_baseline(perceptron(VECTORS, 4), VECTORS)
    params = random_params(learner.init(generator()))
    support, query = episodes(VECTORS, tasks=None)
    z, q = (learner.network(params, part.x) for part in (support, query))
    found = learner.predict(params, learner.adapt(params, support), query.x)
    scale = math.exp(float(params["head.log_scale"]))
    for i, a in enumerate(q):
        for c in range(3):
            w = z[support.y == c].sum(0) / 2
            torch.testing.assert_close(found[i, c], scale * (a @ w) / a.norm() / w.norm())
    directions = protonet(perceptron(VECTORS, 4), VECTORS, distance="cosine", learn_temperature=True)
    other = directions.predict(params, directions.adapt(params, support), query.x)
    assert not torch.allclose(other, found)


def test_the_temperature_is_learned_from_ten_on() -> None:
    learner = meta_baseline(perceptron(VECTORS, 4), VECTORS)
    assert learner.moves("head.log_scale")
    assert math.isclose(float(learner.init(generator())["head.log_scale"].exp()), 10.0, rel_tol=1e-6)

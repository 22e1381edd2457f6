"""The baselines: SimpleShot's centring, fine-tuning against torch.optim, training over all classes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from small_tasks import VALUES, VECTORS, episodes, generator, perceptron, random_params
from torch import Tensor, nn

from quickstudy.episode import Episode, Examples, Params
from quickstudy.errors import ConfigError
from quickstudy.learners import finetune, simpleshot

EPISODE = episodes(VECTORS, tasks=None)


def embed(params: Params, x: object) -> Tensor:
    assert isinstance(x, Tensor)
    hidden = torch.tanh(F.linear(x, params["network.0.weight"], params["network.0.bias"]))
    return F.linear(hidden, params["network.2.weight"], params["network.2.bias"])


@pytest.mark.parametrize("centre", [True, False])
def test_simpleshot_is_the_nearest_centroid_of_centred_unit_embeddings(centre: bool) -> None:
    learner = simpleshot(perceptron(VECTORS, 4), VECTORS, classes=7, centre=centre)
    params = random_params(learner.init(generator()))
    training = [episodes(VECTORS, tasks=None, seed=seed) for seed in (5, 6)]
    calibrated = learner.calibrate(params, training)
    mean = torch.cat([embed(params, e.query.x) for e in training]).mean(0) if centre else 0.0
    z, q = (F.normalize(embed(params, part.x) - mean, dim=1) for part in EPISODE)
    centroids = torch.stack([z[EPISODE.support.y == c].mean(0) for c in range(3)])
    found = learner.predict(calibrated, learner.adapt(calibrated, EPISODE.support), EPISODE.query.x)
    torch.testing.assert_close(found, -(q[:, None] - centroids[None]).square().sum(2))


@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize("tune", ["head", "all"])
def test_fine_tuning_equals_a_training_loop_with_torch(rule: str, tune: str) -> None:
    module = perceptron(VECTORS, 4)
    learner = finetune(module, VECTORS, classes=7, lr=0.1, steps=8, rule=rule, tune=tune)  # type: ignore[arg-type]
    params = {name: value.double() for name, value in learner.init(generator()).items()}
    params |= {f"network.{name}": value.detach().clone() for name, value in module.named_parameters()}
    head = nn.Linear(4, 3).double()
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    moving = [*head.parameters(), *(module.parameters() if tune == "all" else ())]
    optimizer = (torch.optim.SGD if rule == "sgd" else torch.optim.Adam)(moving, lr=0.1)
    for _ in range(8):
        optimizer.zero_grad()
        F.cross_entropy(head(module(EPISODE.support.x)), EPISODE.support.y).backward()
        optimizer.step()
    found = learner.predict(params, learner.adapt(params, EPISODE.support), EPISODE.query.x)
    torch.testing.assert_close(found, head(module(EPISODE.query.x)).detach(), rtol=1e-6, atol=1e-8)


def test_training_is_classification_over_all_classes_and_adapting_is_for_the_ways_of_the_task() -> None:
    learner = finetune(perceptron(VECTORS, 4), VECTORS, classes=7, smoothing=0.1, steps=2)
    params = random_params(learner.init(generator()))
    x, y = EPISODE.query.x, torch.tensor([6, 0, 3, 3, 5, 1])
    assert isinstance(x, Tensor)
    nothing = Examples(x[:0], y[:0], y[:0].bool())
    scores = F.linear(embed(params, x), params["classifier.weight"], params["classifier.bias"])
    loss, accuracy = learner.score(params, Episode(nothing, Examples(x, y, torch.ones_like(y).bool())))
    torch.testing.assert_close(loss, F.cross_entropy(scores, y, label_smoothing=0.1))
    torch.testing.assert_close(accuracy, (scores.argmax(1) == y).double().mean())
    assert learner.adapt(params, EPISODE.support)["task.(head).weight"].shape == (3, 4)
    five = learner.at(VECTORS.at(5))
    assert five.predict(params, five.adapt(params, EPISODE.support), x).shape == (6, 5)


def test_the_head_is_trained_in_float32_where_the_encoder_runs_in_less() -> None:
    learner = finetune(perceptron(VECTORS, 4).float(), VECTORS, classes=7, steps=2)
    params, x = learner.init(generator()), EPISODE.support.x.float()  # type: ignore[union-attr]
    with torch.autocast("cpu", torch.bfloat16):
        state = learner.adapt(params, EPISODE.support._replace(x=x))
        assert learner.predict(params, state, x).dtype == torch.float32
        assert learner.score(params, Episode(EPISODE.support, EPISODE.query._replace(x=x)))[0].dtype == torch.float32


def test_baselines_classify_only() -> None:
    with pytest.raises(ConfigError, match=r"the targets of these tasks are 2 numbers\. Use 'maml' or 'r2d2'"):
        simpleshot(perceptron(VALUES, 4), VALUES, classes=3).init(generator())

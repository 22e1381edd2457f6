"""What users do wrong is refused when the learner is built, with the layer, the reason and the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from small_tasks import IMAGES, VALUES, VECTORS, convolutional, episodes, generator, perceptron
from torch import nn

from quickstudy.errors import ConfigError, ModelError
from quickstudy.inner import SGD
from quickstudy.learners import Learner, anil, cavia, maml, matchingnet, protonet, r2d2, reptile
from quickstudy.registry import targets


@pytest.mark.parametrize("learner", [maml, anil, reptile])
def test_tracked_statistics_inside_an_inner_loop(learner: Callable[..., Learner]) -> None:
    with pytest.raises(ModelError, match=r"Layer 1 is BatchNorm2d.*norm='batch'.*norm='per_step'.*nn\.GroupNorm"):
        learner(convolutional(3), IMAGES)
    untracked = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3))
    assert learner(untracked, VECTORS).transductive


def test_dropout_inside_one_operation() -> None:
    with pytest.raises(
        ModelError, match=r"Layer 1 is LSTM with dropout 0.5 between its layers.*put nn.Dropout between"
    ):
        protonet(nn.Sequential(nn.Linear(5, 5), nn.LSTM(5, 5, 2, dropout=0.5)), VECTORS)


def test_inactive_dropout_is_welcome() -> None:
    protonet(nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.0)), VECTORS)


def test_instance_norm_that_tracks_statistics() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3, track_running_stats=True))
    with pytest.raises(ModelError, match=r"Layer 1 is InstanceNorm2d.*track_running_stats=False"):
        protonet(module, IMAGES)


def test_a_lazy_layer() -> None:
    with pytest.raises(ModelError, match=r"Layer 0 \(LazyLinear\) has no shape yet"):
        protonet(nn.Sequential(nn.LazyLinear(3)), VECTORS)


def test_cavia_without_a_context() -> None:
    with pytest.raises(ModelError, match=r"buffer called 'context'.*quickstudy\.models\.WithContext\(module"):
        cavia(perceptron(VECTORS, 3), VECTORS)


def test_a_wrong_number_of_outputs() -> None:
    with pytest.raises(
        ModelError, match=r"gives \(4,\) numbers.*needs \(3,\).*End the module with a layer of 3 outputs"
    ):
        maml(perceptron(VECTORS, 4), VECTORS)
    with pytest.raises(ModelError, match=r"gives \(3,\) numbers.*needs \(2,\) \(2 numbers\)"):
        maml(perceptron(VALUES, 3), VALUES)


def test_a_gradient_learner_at_other_ways() -> None:
    headless = nn.Sequential(perceptron(VECTORS, 3), nn.PReLU(3).double())
    learner = maml(headless, VECTORS)
    with pytest.raises(ConfigError, match=r"has \(3,\) outputs and cannot do tasks of 5 classes.*protonet"):
        learner.at(VECTORS.at(5))
    with pytest.raises(ConfigError, match=r"cannot do tasks of a number"):
        maml(perceptron(VECTORS, 3), VECTORS).at(replace(VALUES, target=targets.make("numbers")))
    valued = maml(perceptron(VALUES, 2), VALUES)
    metres = replace(VALUES, target=targets.make("numbers", shape=(2,), units="m"))
    assert valued.at(metres).spec.target.units == "m"


def test_an_encoder_without_features() -> None:
    learner = protonet(nn.Flatten(0), VECTORS)
    with pytest.raises(ModelError, match=r"an embedding needs \(n, D\)"):
        learner.adapt(learner.init(generator()), episodes(VECTORS, tasks=None).support)


def test_numbers_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="cannot be negative, found -1"):
        maml(perceptron(VECTORS, 3), VECTORS, steps=-1)
    with pytest.raises(ConfigError, match=r"rate must be positive, found 0\.0"):
        SGD(lr=0.0)
    with pytest.raises(ConfigError, match="temperature must be positive and finite, found 0"):
        protonet(perceptron(VECTORS, 3), VECTORS, temperature=0)
    with pytest.raises(ConfigError, match="temperature must be positive and finite, found -1"):
        matchingnet(perceptron(VECTORS, 3), VECTORS, temperature=-1)
    with pytest.raises(ConfigError, match="regularisation must be positive and finite, found 0"):
        r2d2(perceptron(VECTORS, 3), VECTORS, regularisation=0)


def test_a_partition_that_matches_nothing() -> None:
    with pytest.raises(ConfigError, match=r"No parameter matches classifier\.\*"):
        anil(perceptron(VECTORS, 3), VECTORS, head="classifier.*")

"""One network for a whole space: which weights another takes, and that gradients go where they came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from quickstudy.errors import ConfigError
from quickstudy.registry import learners, models, sources
from quickstudy.search.supernet import Supernet, place
from quickstudy.space import Choice, Range, Values
from quickstudy.tasks import arrays
from quickstudy.training.build import build
from quickstudy.training.config import RunConfig


def images(size: int = 8) -> Any:
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(20, 1, size, size, generator=generator)
    y = torch.arange(20).repeat_interleave(10)
    return arrays(centres[y] + 0.3 * torch.randn(len(y), 1, size, size, generator=generator), y)


def config(**options: Any) -> RunConfig:
    return RunConfig(
        name="small", tasks=sources.part("own"), model=models.part("convnet", **options),
        learner=learners.part("protonet"), ways=3, shots=1, queries=3, meta_batch=2, lr=0.01, device="cpu",
        compile="off", vectorize="loop",
    )  # fmt: skip


def supernet(**options: Any) -> Supernet:
    given = {"width": Range(2, 6), "depth": Range(1, 2), "kernel": Choice(3, 5), "separable": Choice(False, True)}
    return Supernet(config(**given | options), images())


POINT: Values = {"width": 4, "depth": 2, "kernel": 3, "separable": False}


def test_a_small_tensor_is_the_leading_and_middle_part_of_a_large_one() -> None:
    large = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    part = large[place(torch.Size([1, 2, 3, 3]), large.shape)]
    assert torch.equal(part, large[:1, :2, 1:4, 1:4])
    assert place(torch.Size([]), torch.Size([])) == ()
    with pytest.raises(ConfigError, match="cannot be a part"):
        place(torch.Size([3]), torch.Size([2]))


def test_a_network_of_the_space_is_the_one_that_its_options_build() -> None:
    """The entries and shapes of a point's φ are those that the model has when it is built apart."""
    net = supernet()
    for point in (POINT, {**POINT, "separable": True}, {**POINT, "width": 2, "depth": 1, "kernel": 5}):
        apart = build(net.made(point), None, net.source).engine.learner.init(torch.Generator().manual_seed(0))
        assert {n: v.shape for n, v in net.params(point).items()} == {n: v.shape for n, v in apart.items()}


def test_gradients_of_a_part_are_those_of_the_network_alone_and_touch_nothing_else() -> None:
    net = supernet(kernel=Choice(3), separable=Choice(False))
    point = {"width": 3, "depth": 2, "kernel": 3, "separable": False}
    keys = torch.zeros((), dtype=torch.int64)
    total, norm = net._gradients([point], keys)
    parts = net.parts(point)
    episodes = parts.training.episodes("train", torch.arange(2))
    alone, _, _ = parts.training_engine.gradients({n: v.clone() for n, v in net.params(point).items()}, episodes)
    for name, grad in total.items():
        where = place(alone[name].shape, grad.shape)
        assert torch.allclose(grad[where], alone[name], atol=1e-6)
        rest = grad.clone()
        rest[where] = 0
        assert not rest.any()
    assert float(norm) == pytest.approx(float(sum(g.square().sum() for g in alone.values()) ** 0.5), rel=1e-5)


def test_training_makes_small_and_large_networks_better() -> None:
    net = supernet(kernel=Choice(3), separable=Choice(False))
    points = [{**POINT, "width": width} for width in (3, 6)]
    before = [net.evaluated(point, 60).mean for point in points]
    net.train(steps=80)
    assert net.steps == 80
    after = [net.evaluated(point, 60).mean for point in points]
    assert sum(after) > sum(before) + 0.1


def test_what_follows_an_embedding_fits_networks_of_every_depth() -> None:
    """A classifier over all classes has as many columns as the embedding, which is longer where less was halved."""
    net = Supernet(
        replace(config(width=Range(2, 6), depth=Range(1, 3), early=Range(0, 2)), learner=learners.part("simpleshot")),
        images(),
    )
    for point in net.space.points():
        apart = build(net.made(point), None, net.source).training_engine.learner.init(torch.Generator().manual_seed(0))
        assert {n: v.shape for n, v in net.params(point).items()} == {n: v.shape for n, v in apart.items()}


def test_corners_are_the_largest_of_each_choice() -> None:
    corners = supernet().corners()
    assert len(corners) == 4
    assert {(c["width"], c["depth"]) for c in corners} == {(6, 2)}


def test_a_space_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves no option open"):
        Supernet(replace(config(), model=models.part("convnet", width=4)), images())


def test_only_members_are_trained_and_the_largest_of_them() -> None:
    """Nothing beyond the largest member of each choice is made or moved: what is too slow costs nothing."""
    net = supernet(kernel=Choice(3), separable=Choice(False))
    members: list[Values] = [{**POINT, "width": width, "depth": 1} for width in (2, 3)]
    net.train(steps=3, members=members)
    assert net.shared["network.block1.conv.weight"].shape[0] == 3
    assert not any("block2" in name for name in net.shared)
    before = net.shared["network.block1.conv.weight"].clone()
    wider = net.params({**POINT, "width": 6, "depth": 1})
    assert wider["network.block1.conv.weight"].shape[0] == 6, "one that was not trained grows what is shared"
    assert torch.equal(net.shared["network.block1.conv.weight"][:3], before)

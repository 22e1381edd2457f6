"""Weights drawn anew, and the head that is found: by what layers do, not by how they are registered or written."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import quickstudy as qs
from quickstudy.learners import Network
from quickstudy.learners.given import as_given
from quickstudy.registry import formats, learners
from quickstudy.training.start import beginning


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.token = nn.MultiheadAttention(6, 2, batch_first=True), nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None] + self.token
        return cast(Tensor, self.attention(x, x, x)[0][:, 0])


def weight(module: nn.Module, seed: int) -> Tensor:
    """The effective weight of a layer that is drawn from this seed."""
    network = Network(module)
    return cast(Tensor, network.holding(network.init(torch.Generator().manual_seed(seed))).weight)


def test_attention_is_drawn_from_the_seed() -> None:
    module = nn.MultiheadAttention(6, 2)
    one, same, other = (Network(module).init(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    for name in ("network.in_proj_weight", "network.out_proj.weight"):
        assert torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name])
        assert not torch.equal(one[name], dict(module.named_parameters())[name.removeprefix("network.")])
    assert (one["network.out_proj.bias"] == 0).all(), "attention begins without biases"
    kept = Network(as_given(module)).init(torch.Generator().manual_seed(0))
    assert torch.equal(kept["network.in_proj_weight"], module.in_proj_weight)


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal"])
def test_what_gives_a_parametrized_weight_is_drawn(kind: str) -> None:
    module = getattr(parametrizations, kind)(nn.Linear(6, 4)).eval()
    first = weight(module, 0)
    assert torch.allclose(first, weight(module, 0)) and not torch.allclose(first, weight(module, 1))
    assert not torch.allclose(first, module.weight)
    if kind == "weight_norm":
        torch.manual_seed(int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(0))))
        torch.testing.assert_close(first, nn.Linear(6, 4).weight)  # as the layer without it would be drawn
    assert not Network(module).undrawn


def test_what_no_layer_draws_is_said() -> None:
    module = nn.Sequential(Attends(), parametrizations.weight_norm(nn.Linear(6, 4)))
    learner = learners["protonet"](module, qs.tasks.linear(dimensions=6).spec)
    assert learner.network.undrawn == ["0.token"]
    config = qs.RunConfig(
        name="x", learner=learners.part("protonet"), model=qs.registry.models.part("own"), init="fresh"
    )
    assert "drawn anew from the seed, but for 0.token, which no layer draws (" in beginning(config, learner, {})


class Backwards(nn.Module):
    """The head is registered first; `unused` last."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.unused = nn.Linear(8, 3), nn.Linear(6, 8), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.body(x).tanh()))


class ByWeight(Backwards):
    """The layer that is registered last is used without being called."""

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.body(x).sum() + nn.functional.linear(x, self.unused.weight, self.unused.bias))


@pytest.mark.parametrize(("module", "head"), [(Backwards(), "head"), (ByWeight(), "unused"), (nn.Linear(6, 3), "")])
def test_the_head_is_what_is_called_last(module: nn.Module, head: str) -> None:
    network = Network(module)
    network.find_head(formats.make("array", shape=(6,)))
    assert network.head == head
    assert not any(layer._forward_pre_hooks for layer in module.modules())


def test_anil_moves_the_head_that_is_called_last(tmp_path: Path) -> None:
    x = torch.randn(60, 6)
    config = qs.RunConfig(
        name="x", learner=learners.part("anil"), ways=3, shots=1, queries=2, iterations=1, device="cpu"
    )
    source = qs.tasks.arrays(x, [i % 20 for i in range(60)])
    run = qs.train(config, module=Backwards(), source=source, out=tmp_path / "run", quiet=True)
    moved = run.adapt(x[:6], list("aabbcc")).state
    assert {name for name in moved if name.startswith("task.")} == {"task.head.weight", "task.head.bias"}

"""Recurrent layers inside an inner loop and under vmap: their values, both derivatives, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_tasks import (
    classes,
    episodes,
    generator,
    numbers,
    random_params,
)
from torch import Tensor, nn

from quickstudy.averaging import Supervised
from quickstudy.engine import Engine
from quickstudy.engine.plan import Plan
from quickstudy.errors import ModelError
from quickstudy.inner import SGD
from quickstudy.learners import Network, maml, protonet
from quickstudy.learners.cells import ElementaryCells
from quickstudy.learners.fisher import diagonal_fisher
from quickstudy.spec import TaskSpec
from quickstudy.testing import check_learner

CPU = torch.device("cpu")
SEQUENCES = numbers((4, 3))
KINDS: dict[str, Callable[..., Any]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
CELLS: dict[str, Callable[..., Any]] = {
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
    "tanh": nn.RNNCell,
    "relu": lambda *sizes, **options: nn.RNNCell(*sizes, nonlinearity="relu", **options),
}
OPTIONS = [
    {},
    {"num_layers": 3, "batch_first": True},
    {"num_layers": 2, "bidirectional": True},
    {"bidirectional": True, "bias": False, "batch_first": True},
]


class Reader(nn.Module):
    """The mean of a recurrent layer's outputs, and its last states, to one number."""

    def __init__(self, layer: nn.Module, outputs: int = 1) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.LazyLinear(outputs).double()
        self(torch.zeros(1, 4, 3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        output, last = self.layer(x)
        parts = [
            output.mean(1),
            *(s.transpose(0, 1).flatten(1) for s in (last if isinstance(last, tuple) else (last,))),
        ]
        found: Tensor = self.head(torch.cat(parts, dim=1))
        return found


def reader(kind: str, outputs: int = 1, **options: Any) -> Reader:
    torch.manual_seed(0)
    return Reader(KINDS[kind](3, 3, batch_first=True, **options).double(), outputs)


def leaves(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [leaf for one in value for leaf in leaves(one)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_elementary_layers_equal_the_fused_ones(kind: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer, x = KINDS[kind](3, 4, **options).double(), torch.randn(5, 2, 3, dtype=torch.float64)
    directions = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    first = torch.randn(directions, 5 if options.get("batch_first") else 2, 4, dtype=torch.float64)
    for given in ((), ((first, first.cos()) if kind == "lstm" else first,)):
        for sequence in (x, x[:, 0]) if not given else (x,):
            fused = layer(sequence, *given)
            with ElementaryCells(always=True):
                elementary = layer(sequence, *given)
            for one, other in zip(leaves(elementary), leaves(fused), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_elementary_cells_equal_the_fused_ones(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    cell, x = CELLS[kind](3, 4, bias=bias).double(), torch.randn(2, 3, dtype=torch.float64)
    fused = cell(x)
    with ElementaryCells(always=True):
        elementary = cell(x)
    for one, other in zip(leaves(elementary), leaves(fused), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh"])
def test_first_and_second_derivatives_are_those_of_finite_differences(kind: str) -> None:
    torch.manual_seed(0)
    layer = KINDS[kind](2, 2, num_layers=2, bidirectional=True).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def output(x: Tensor, *values: Tensor) -> Tensor:
        with ElementaryCells(always=True):
            found: Tensor = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))[0]
        return found.square().sum()

    inputs = (x, *(p.detach().requires_grad_() for p in layer.parameters()))
    assert torch.autograd.gradcheck(output, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(output, inputs, fast_mode=True)


@pytest.mark.parametrize("vectorize", ["vmap", "loop"])
@pytest.mark.parametrize(("estimator", "order"), [("unrolled", "reverse"), ("recompute", "forward")])
@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh"])
def test_meta_gradients_are_those_of_finite_differences(kind: str, estimator: str, order: Any, vectorize: Any) -> None:
    learner, batch, eps = maml(reader(kind), SEQUENCES, lr=0.3, steps=2), episodes(SEQUENCES), 1e-6
    params = random_params(learner.init(generator()))
    engine = Engine(learner, CPU, vectorize, metagrad=estimator).planned(Plan(vectorize, order=order))
    grads = engine.gradients(params, batch)[0]
    along = {n: torch.randn(p.shape, generator=generator(1), dtype=p.dtype) for n, p in params.items()}
    ends = [
        engine.gradients({n: p + sign * eps * along[n] for n, p in params.items()}, batch)[1].mean() for sign in (1, -1)
    ]
    slope = sum((grads[n] * along[n]).sum() for n in grads)
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2 * eps), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_equals_a_loop(kind: str) -> None:
    for learner in (maml(reader(kind), SEQUENCES, lr=0.1, steps=2), protonet(reader(kind, 2), classified())):
        batch = episodes(learner.spec)
        params = random_params(learner.init(generator()))
        vmap, loop = (Engine(learner, CPU, mode) for mode in ("vmap", "loop"))
        one, other = vmap.gradients(params, batch), loop.gradients(params, batch)
        for name, grad in one[0].items():
            torch.testing.assert_close(grad, other[0][name], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(vmap.predictions(params, batch), loop.predictions(params, batch))


def classified() -> TaskSpec:
    return classes((4, 3), 3)


def test_maml_with_a_recurrent_network_conforms() -> None:
    check_learner(maml(reader("lstm", bidirectional=True), SEQUENCES, lr=0.1, steps=2), episodes(SEQUENCES))
    check_learner(protonet(reader("gru", 3), classified()), episodes(classified()))


def test_a_network_without_an_inner_loop_keeps_the_fused_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of transforms they are right, and on a GPU much faster."""
    calls = []
    monkeypatch.setattr("quickstudy.learners.cells._layer", lambda *_: calls.append(1))
    network = Network(reader("lstm"))
    network(network.init(generator()), torch.zeros(2, 4, 3, dtype=torch.float64))
    assert not calls


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(3, 2, batch_first=True).double(), nn.Linear(2, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, [4] * len(x), batch_first=True)
        found: Tensor = self.head(self.layer(packed)[1][0][0])
        return found


def test_packed_sequences_and_projections_are_refused_with_the_way_out() -> None:
    with pytest.raises(ModelError, match=r"Packed sequences .* with a mask as one more channel"):
        maml(Packed(), SEQUENCES)
    embedding = protonet(Packed(), classified())
    params = random_params(embedding.init(generator()))
    Engine(embedding, CPU, "loop").gradients(params, episodes(classified()))
    with pytest.raises(ModelError, match=r"Packed sequences"):
        Engine(embedding, CPU, "vmap").gradients(params, episodes(classified()))
    with pytest.raises(ModelError, match=r"proj_size.*Leave proj_size out"):
        maml(reader("lstm", proj_size=2), SEQUENCES)
    packed = nn.utils.rnn.pack_sequence([torch.zeros(3, 3)])
    with ElementaryCells(always=True), pytest.raises(ModelError, match="Packed sequences"):
        nn.GRU(3, 2)(packed)


def test_vmap_outside_of_the_engine_is_served_as_well() -> None:
    """The Fisher information of a task, one example at a time, and members of partition training side by side."""
    network, (x, y, _) = Network(reader("gru"), inner_loop=False), episodes(SEQUENCES, tasks=None, support=8).support
    params = random_params(network.init(generator()))
    assert isinstance(x, Tensor)
    found = diagonal_fisher(lambda own, x: network(own, x), params, x, SEQUENCES)
    alone = [torch.func.grad(lambda own, i=i: network(own, x[i : i + 1]).sum())(params) for i in range(8)]
    for name, value in found.items():
        torch.testing.assert_close(value, torch.stack([grads[name].square() for grads in alone]).mean(0))
    member = Supervised(network, SEQUENCES, SGD(lr=0.1), x, y, (torch.arange(4), torch.arange(4, 8)), batch=None)
    for part, together in enumerate(member.together(params, [0, 1], 0)):
        for name, value in member(params, part, 0).items():
            torch.testing.assert_close(together[name], value)


def test_weights_of_a_transform_lie_nowhere() -> None:
    """Recurrent layers on a GPU ask for addresses of weights, which those of `torch.func` do not have."""
    with ElementaryCells():
        found = torch.func.vmap(lambda x: x + x.data_ptr())(torch.zeros(3))
        assert torch.equal(found, torch.zeros(3))
        assert torch.ones(2).data_ptr() != 0

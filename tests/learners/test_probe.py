"""Networks that would be silently wrong are refused before anything is trained; those that are only odd are not."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import quickstudy as qs
from quickstudy.errors import ModelError
from quickstudy.learners import Network
from quickstudy.learners.given import as_given, giving
from quickstudy.learners.probe import probe, vmaps
from quickstudy.registry import formats, learners
from quickstudy.training.build import build

ROWS = formats.make("array", shape=(6,))


class Positive(torch.autograd.Function):
    """Without `setup_context`, as functions were written before `torch.func`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return slope * (ctx.saved_tensors[0] > 0)


class Layer(nn.Module):
    """A linear layer, and something else that it does."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.linear = how, nn.Linear(6, 4)
        self.listed, self.linear2 = [nn.Linear(6, 4)], nn.Linear(4, 4)
        self.average, self.kept = torch.zeros(4), list[Tensor]()
        self.deeper: dict[str, dict[str, Tensor]] = {"at": {}}
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        z: Tensor = self.linear(x)
        if self.how == "drop path" and self.training:
            z = z * (torch.rand(len(z), 1) > 0.3)
        if self.how == "noise":
            z = z + torch.randn_like(z)
        if self.how == "functional dropout":
            z = nn.functional.dropout(z, 0.5)
        if self.how == "checkpointed":
            z = checkpoint(lambda x: self.linear(x).tanh() ** 2, x, use_reentrant=False)
        if self.how == "counting":
            self.calls += 1
        if self.how == "list":
            z = self.listed[0](x)
        if self.how == "dict":
            return {"logits": z}
        if self.how == "training checkpointed":
            z = nn.functional.dropout(z, 0.3, self.training)
            if self.training:
                return checkpoint(lambda z: self.linear2(z).tanh() ** 2, z, use_reentrant=False)
            return self.linear2(z).tanh() ** 2
        if self.how == "masks again":
            if not self.training:
                return z
            return checkpoint(lambda z: nn.functional.dropout(z, 0.5, True).tanh(), z, use_reentrant=False)
        if self.how == "partly listed":
            z = z + self.listed[0](x).tanh()
        if self.how == "centred":
            z = z - z.mean(0)
        if self.how == "squeezed":
            z = z[:, None].squeeze()
        if self.how == "numpy" and self.training:
            z = z * float(numpy.random.rand() > 0.5)
        if self.how == "python" and self.training:
            z = z * random.random()
        if self.how == "own average":
            if self.training:
                self.average = 0.9 * self.average + 0.1 * z.detach().mean(0)
            z = z - self.average
        if self.how == "noted":
            self.seen = z
        if self.how == "cached in a list" and not self.training:
            if not self.kept:
                self.kept.append(self.linear.weight.tanh())
            z = x @ self.kept[0].T
        if self.how == "cached deeper":
            z = x @ self.deeper["at"].setdefault("weights", self.linear.weight.detach().clone()).T + self.linear.bias
        if self.how == "no grad":
            z = z.detach()
        if self.how == "inference":
            with torch.inference_mode():
                z = self.linear(x)
            z = self.linear2(z)
        if self.how == "labels" and self.training:
            raise ValueError("labels are needed")
        if self.how == "transposed":
            z = z.T
        if self.how == "classes":
            return z.argmax(1, keepdim=True)
        if self.how == "above":
            return z > 0
        if self.how == "nested":
            return {"a": None, "b": [z]}
        if self.how == "in place":
            return self.linear(x.clamp_(-0.5, 0.5))
        if self.how == "gradient inside":
            with torch.enable_grad():
                y = x.detach().clone().requires_grad_()
                z = z + torch.autograd.grad(self.linear(y).square().sum(), y, create_graph=True)[0][:, :4]
        if self.how == "own function":
            z = Positive.apply(z)  # type: ignore[no-untyped-call]
        if self.how == "looks":
            return z if (x.abs() < 1e3).all() else -z
        return z


class Mixed(nn.Module):
    """Layers that take examples along the second axis."""

    def __init__(self, kind: str, batch_first: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.inner: nn.Module
        if kind == "attention":
            self.inner = nn.MultiheadAttention(2, 1, batch_first=batch_first)
        else:
            self.inner = nn.GRU(2, 4, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 3, 2)
        out: Tensor = self.inner(x, x, x)[0] if self.kind == "attention" else self.inner(x)[0][:, -1]
        return (x + out).flatten(1) if self.kind == "attention" else out


def bound() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4))
    before = module[0].forward
    module[0].forward = lambda x: 2 * before(x)
    return module


class Held(Layer):
    def __init__(self, what: Any) -> None:
        super().__init__("plain")
        self.what = what


def layer(how: str) -> nn.Module:
    wrong: dict[str, Callable[[], nn.Module]] = {
        "half": lambda: Layer("plain").half(), "double": lambda: Layer("plain").double(),
        "complex": lambda: nn.Sequential(nn.Linear(6, 4).to(torch.complex64)),
        "scripted": lambda: nn.Sequential(torch.jit.script(nn.Linear(6, 4))),
        "attention": lambda: Mixed("attention"), "recurrent": lambda: Mixed("recurrent"), "bound": bound,
        "spread inside": lambda: nn.Sequential(nn.DataParallel(nn.Linear(6, 4))),
        "lock": lambda: Held(threading.Lock()), "generator": lambda: Held(torch.Generator()),
        "weight norm": lambda: nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(6, 4))),
        "spread": lambda: nn.DataParallel(nn.Linear(6, 4)),
    }  # fmt: skip
    return wrong[how]() if how in wrong else Layer(how)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("noise", "draws at random"),
        ("functional dropout", "draws at random even after training"),
        ("counting", "A call of the network changes calls"),
        ("checkpointed", "computes parts again in the backward pass"),
        ("half", "'linear.weight' of the network is float16, but inputs are float32.*module.float"),
        ("double", "is float64"),
        ("complex", "is complex64.*view_as_real"),
        ("scripted", "compiled by TorchScript"),
        ("spread", "Give the network inside, module.module"),
        ("list", "does not depend on its parameters"),
        ("training checkpointed", "computes parts again in the backward pass"),
        ("masks again", "computes parts again in the backward pass.*other draws"),
        ("partly listed", r"not registered in it, of the shapes .*\(4, 6\)"),
        ("bound", "not registered in it.*a function that is bound to the layer"),
        ("attention", "depends on the other inputs"),
        ("recurrent", "depends on the other inputs"),
        ("centred", "depends on the other inputs"),
        ("squeezed", r"gives \(3, 4\) for 3 inputs, but \(4,\) for one"),
        ("numpy", "Python's random or by NumPy"),
        ("python", "Python's random or by NumPy"),
        ("own average", r"something between calls that is in no buffer \(in average\)"),
        ("cached deeper", "depends on what it was asked before"),
        ("no grad", "No gradient of the network's output reaches its parameters"),
        ("inference", "gradient of the network cannot be computed.*inference_mode belongs under torch.no_grad"),
        ("labels", "cannot be called while `self.training` is true.*labels are needed"),
        ("transposed", r"of the shape \(4, 3\) for 3 inputs"),
        ("classes", "an output of int64, which has no gradient"),
        ("above", "an output of bool"),
        ("nested", "gives a dict, but one tensor .*output='b.0'"),
        ("spread inside", "layer 0 is wrapped in DataParallel.*Give the network inside, 0.module"),
        ("lock", "attribute 'what' of layer .the module itself. cannot: it is a lock"),
        ("generator", "holds a torch.Generator, 'what'"),
        ("weight norm", "attribute 'weight' of layer 0 cannot.*parametrizations.weight_norm"),
        ("dict", "gives a dict, but one tensor .*output='logits'"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(how: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        probe(Network(layer(how)), ROWS)
    source = qs.tasks.arrays(torch.randn(60, 6), [i % 6 for i in range(60)])
    config = qs.RunConfig(name="x", learner=learners.part("protonet"), ways=2, queries=2, iterations=1, device="cpu")
    with pytest.raises(ModelError, match=said):
        qs.train(config, module=layer(how), source=source, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists(), "a start that failed has left a folder"


def test_a_network_for_other_inputs_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match=r"cannot take an input of these tasks, of the shape \(6,\)"):
        probe(Network(nn.Linear(7, 4)), ROWS)


def test_what_is_odd_but_right_is_taken() -> None:
    zeros = nn.Linear(6, 4)
    nn.init.zeros_(zeros.weight)
    nn.init.zeros_(zeros.bias)
    tied = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    tied[1].weight = tied[0].weight
    for module in (
        as_given(zeros), Layer("noted"), Layer("cached in a list"), Layer("in place"), Layer("gradient inside"),
        Layer("own function"), Mixed("attention", True),
        Mixed("recurrent", True), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4)), nn.Identity(), tied,
        Layer("drop path"), Layer("looks"), nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)),
        nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.0)),
    ):  # fmt: skip
        probe(Network(module), ROWS)


def test_random_numbers_of_the_process_are_left_alone() -> None:
    networks = [Network(Layer(how)) for how in ("plain", "numpy", "python")]
    before, python, array = torch.get_rng_state(), random.getstate(), str(numpy.random.get_state())
    probe(networks[0], ROWS)
    for network in networks[1:]:
        with pytest.raises(ModelError):
            probe(network, ROWS)
    assert torch.equal(before, torch.get_rng_state())
    assert random.getstate() == python and str(numpy.random.get_state()) == array


def test_where_vmap_cannot_follow_tasks_run_one_after_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "quickstudy")
    assert vmaps(Network(Layer("plain")), ROWS) and not caplog.records
    assert not vmaps(Network(Layer("looks")), ROWS)
    assert "vmap cannot follow this network" in caplog.text
    source = qs.tasks.arrays(torch.randn(240, 6), [i % 24 for i in range(240)])
    for name in ("protonet", "maml", "finetune"):
        config = qs.RunConfig(
            name="x", learner=learners.part(name), ways=4, queries=2, iterations=3, device="cpu", validation_episodes=3
        )
        caplog.clear()
        run = qs.train(config, module=Layer("looks"), source=source, out=tmp_path / name, quiet=True)
        assert run.parts.engine.mode == "loop" and run.evaluate(episodes=3).episodes == 3
        assert caplog.text.count("vmap cannot follow") == 1


def test_one_input_that_cannot_be_normalised_is_refused_in_words() -> None:
    network = Network(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), norm="batch")
    params = network.init(torch.Generator().manual_seed(0))
    assert network(params, torch.randn(2, 6)).shape == (2, 4)
    with pytest.raises(ModelError, match="One input by itself cannot be normalised"):
        network(params, torch.randn(1, 6))


@pytest.mark.parametrize(
    ("learner", "vectorize", "first"),
    [
        ("protonet", "loop", "clamp"),
        ("relationnet", "vmap", "relu"),
        ("maml", "vmap", "clamp"),
        ("maml", "loop", "relu"),
    ],
)
def test_networks_that_work_in_place_leave_tensors_of_others_alone(
    learner: str, vectorize: Any, first: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Layer("in place") if first == "clamp" else nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4))
    x, names = torch.randn(240, 6), [i % 24 for i in range(240)]
    kept = x.clone()
    config = qs.RunConfig(
        name="x", learner=learners.part(learner), ways=4, queries=2, iterations=2, device="cpu", vectorize=vectorize
    )
    run = qs.train(config, module=module, source=qs.tasks.arrays(x, names), out=tmp_path / "run", quiet=True)
    model = run.adapt(x[:48], [f"{i % 4}" for i in range(48)])
    together = model(x)
    model.predict(x)
    assert torch.equal(x, kept)
    torch.testing.assert_close(model(x[:5]), together[:5])


def test_what_a_call_leaves_in_attributes_is_gone_in_the_next() -> None:
    network = Network(Layer("cached in a list"))
    params, x = network.init(torch.Generator().manual_seed(0)), torch.randn(5, 6)
    other = {name: value + 1 for name, value in params.items()}
    first = network(params, x)
    assert not torch.allclose(network(other, x), first)
    assert torch.equal(network(params, x), first)


def test_a_vmapped_tensor_does_not_stay_in_an_attribute() -> None:
    network = Network(Layer("noted"))
    params, x = network.init(torch.Generator().manual_seed(0)), torch.randn(5, 6)
    torch.func.vmap(lambda x: network(params, x))(x[:, None])
    copies = network._pools.resting(network.as_trained)
    assert not hasattr(copies.take(), "seen")


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_numbers_of_words_may_come_as_floats(dropout: float) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.dropout = nn.Embedding(9, 4), nn.Dropout(dropout)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.dropout(self.words(x.long()).mean(1))
            return out

    probe(Network(Words()), ROWS)
    probe(Network(Words()), formats.make("array", shape=(6,)), torch.ones(3, 6, dtype=torch.int64))


def test_parts_of_parts_are_found_and_what_is_no_tensor_is_said() -> None:
    module, x = giving(Layer("nested"), "b.0"), torch.randn(3, 6)
    assert torch.equal(module(x), module.linear(x))  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"The part 'a' .* is a NoneType, but one tensor .*Name another part: b\.0"):
        giving(Layer("nested"), "a")(x)
    with pytest.raises(ModelError, match=r"The part 'b' .* is a list, .*Name another part: b\.0"):
        giving(Layer("nested"), "b")(x)


@pytest.mark.parametrize("how", ["own function", "gradient inside"])
def test_what_an_inner_loop_cannot_differentiate_is_refused_in_words(how: str, tmp_path: Path) -> None:
    source = qs.tasks.arrays(torch.randn(60, 6), [i % 20 for i in range(60)])
    for name, options in (("protonet", {}), ("maml", {}), ("finetune", {"tune": "all"})):
        config = qs.RunConfig(
            name="x", learner=learners.part(name, **options), ways=4, queries=2, iterations=1, device="cpu",
            vectorize="loop",
        )  # fmt: skip
        if name == "protonet":
            build(config, Layer(how), source)
        else:
            with pytest.raises(ModelError, match="An inner loop cannot differentiate this network.*setup_context"):
                build(config, Layer(how), source)

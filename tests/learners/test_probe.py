"""Networks that would be silently wrong are refused before anything is trained; those that are only odd are not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import quickstudy as qs
from quickstudy.errors import ModelError
from quickstudy.learners import Network
from quickstudy.learners.given import as_given
from quickstudy.learners.probe import probe, vmaps
from quickstudy.registry import formats, learners

ROWS = formats.make("array", shape=(6,))


class Layer(nn.Module):
    """A linear layer, and something else that it does."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.linear = how, nn.Linear(6, 4)
        self.listed = [nn.Linear(6, 4)]
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
        if self.how == "looks":
            return z if (x.abs() < 1e3).all() else -z
        return z


def layer(how: str) -> nn.Module:
    wrong: dict[str, Callable[[], nn.Module]] = {
        "half": lambda: Layer("plain").half(), "double": lambda: Layer("plain").double(),
        "complex": lambda: nn.Sequential(nn.Linear(6, 4).to(torch.complex64)),
        "scripted": lambda: nn.Sequential(torch.jit.script(nn.Linear(6, 4))),
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
        as_given(zeros), nn.Identity(), tied, Layer("drop path"), Layer("looks"),
        nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.0)),
    ):  # fmt: skip
        probe(Network(module), ROWS)


def test_random_numbers_of_the_process_are_left_alone() -> None:
    network, before = Network(Layer("plain")), torch.get_rng_state()
    probe(network, ROWS)
    assert torch.equal(before, torch.get_rng_state())


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

"""Which parts the two loops move, and at which rates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import assert_same_bits, blobs, class_run, linear_run, train_until
from torch import nn

from quickstudy.cli import main
from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.memory.runs import as_memory
from quickstudy.registry import learners
from quickstudy.runs.run import Run
from quickstudy.runs.train import resume, train
from quickstudy.training.config import RunConfig
from quickstudy.training.options import OuterOptions
from quickstudy.training.outer import Outer


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


def assert_equal(one: Params, other: Params) -> None:
    assert one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def config(name: str, options: dict[str, Any], **changes: Any) -> RunConfig:
    return replace(
        class_run(name, iterations=6, validate_every=6, **changes),
        learner=learners.part(name, **options),
        compile="off",
    )


def test_maml_that_moves_the_head_is_anil(tmp_path: Path) -> None:
    ways = {"lr": 0.1, "steps": 2}
    one = train(config("maml", ways | {"inner": ("2.*",)}), module=network(), source=blobs(), out=tmp_path / "a")
    other = train(config("anil", ways), module=network(), source=blobs(), out=tmp_path / "b")
    assert_equal(one.params, other.params)
    but = train(config("maml", ways | {"inner": ("!0.*",)}), module=network(), source=blobs(), out=tmp_path / "c")
    assert_equal(one.params, but.params)
    every = train(config("maml", ways), module=network(), source=blobs(), out=tmp_path / "d")
    assert not torch.equal(every.params["network.0.weight"], one.params["network.0.weight"])


@pytest.mark.parametrize("name", ["maml", "fomaml", "imaml", "metasgd"])
def test_only_what_is_inside_is_the_tasks_own(name: str, tmp_path: Path) -> None:
    run = train(config(name, {"inner": ("0.bias",)}), module=network(), source=blobs(), out=tmp_path / "a", quiet=True)
    model = run.adapt(torch.randn(6, 8), list("aabbcc"))
    assert [key for key in model.state if key.startswith("task.")] == ["task.0.bias"]
    again = Run(run.folder, network()).adapt(torch.randn(6, 8), list("aabbcc"))
    assert again.config.learner.options["inner"] == ("0.bias",)


def test_an_inner_loop_that_would_move_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No parameter matches body\.\*"):
        train(config("maml", {"inner": ("body.*",)}), module=network(), source=blobs(), out=tmp_path / "a")
    with pytest.raises(ConfigError, match="over the whole network"):
        as_memory(config("maml", {"inner": ("2.*",)}))


RATES = {"2.*": 1e-2, "inner.*": 1e-4}


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "AdamW"])
def test_each_part_has_its_rate(optimizer: str) -> None:
    """Against an optimizer for each part, in float64."""
    params = {name: torch.randn(3, dtype=torch.float64) for name in ("network.0.w", "network.2.w", "inner.lr")}
    outer = Outer(
        {n: v.clone() for n, v in params.items()}, OuterOptions(optimizer=optimizer, lr=1e-3, rates=RATES, iterations=9)
    )
    alone = {name: nn.Parameter(value.clone()) for name, value in params.items()}
    each = [
        getattr(torch.optim, optimizer)([value], lr=rate)
        for value, rate in zip(alone.values(), (1e-3, 1e-2, 1e-4), strict=True)
    ]
    for step in range(5):
        grads = {name: torch.full_like(value, 0.1 * (step + 1)).sin() for name, value in params.items()}
        outer.step(grads, torch.zeros(()))
        for (name, value), one in zip(alone.items(), each, strict=True):
            value.grad = grads[name]
            one.step()
    for name, value in alone.items():
        torch.testing.assert_close(outer.params[name], value.detach(), rtol=1e-12, atol=1e-14)


def test_schedules_scale_every_rate() -> None:
    params = {"network.0.w": torch.zeros(2), "network.2.w": torch.zeros(2)}
    for schedule in ("OneCycleLR", "CosineAnnealingLR"):
        outer = Outer(params, OuterOptions(schedule=schedule, lr=1e-3, rates={"2.*": 1e-2}, iterations=8))
        for _ in range(8):
            first, second = outer.rates
            assert second == pytest.approx(10 * first)
            outer.rehearse()


def test_rates_of_parts_survive_a_stop_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = linear_run(rates={"head.*": 1e-2, "linear1.bias": 1e-4})
    train(wanted, out=tmp_path / "whole", quiet=True)
    train_until(3, wanted, tmp_path / "stopped", monkeypatch)
    resume(tmp_path / "stopped", quiet=True)
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


def test_compiled_steps_take_each_rate(tmp_path: Path) -> None:
    wanted = replace(config("maml", {"lr": 0.1}), rates={"2.*": 1e-2})
    plain = train(wanted, module=network(), source=blobs(), out=tmp_path / "plain", quiet=True)
    compiled = train(
        replace(wanted, compile="on"), module=network(), source=blobs(), out=tmp_path / "compiled", quiet=True
    )
    for name, value in plain.params.items():
        torch.testing.assert_close(compiled.params[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rates", "said"),
    [({"3.*": 1e-2}, "No parameter that is trained matches '3.\\*'"),
     ({"2.*": 0.0}, "rate of '2.\\*' must be positive"),
     ({"*": 1e-2, "2.*": 1e-3}, "an earlier pattern has taken all")],
)  # fmt: skip
def test_rates_that_reach_nothing_are_refused(rates: dict[str, float], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        train(replace(config("maml", {}), rates=rates), module=network(), source=blobs(), out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_rates_are_given_on_the_command_line(tmp_path: Path) -> None:
    few = ["--iterations", "2", "--validation-episodes", "2", "--no-report", "--out", str(tmp_path / "r")]
    parts = ["--learner.inner", "head.*", "--rates", "linear*", "1e-5", "head.*", "1e-3"]
    assert main(["train", "linear-maml", *few, *parts]) == 0
    made = Run(tmp_path / "r").config
    assert made.rates == {"linear*": 1e-5, "head.*": 1e-3} and made.learner.options["inner"] == ("head.*",)

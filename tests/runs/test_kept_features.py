"""A frozen encoder is run once over a pool; what is learned and measured on its features is the same as without."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.engine import Engine, kept
from quickstudy.engine.told import told
from quickstudy.formats.augment import Augment
from quickstudy.learners import Network
from quickstudy.learners.halves import halves
from quickstudy.models.head import Encoded
from quickstudy.registry import formats, learners
from quickstudy.runs.train import train
from quickstudy.training.config import RunConfig

SEEN = [0]  # examples that an encoder was given


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.flat, self.linear = nn.Flatten(), nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        SEEN[0] += x.numel() // 64
        return torch.tanh(self.linear(self.flat(x)))


class Other(Counting):
    """Prints as `Counting` does, with the same weights, and computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3 * self.linear(self.flat(x)))

    def __repr__(self) -> str:
        return repr(Counting())


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


def head(outputs: int) -> nn.Linear:
    torch.manual_seed(5)
    return nn.Linear(12, outputs)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "sequence": lambda n: nn.Sequential(frozen(Counting()), nn.Tanh(), head(n)),
    "encoder and head": lambda n: Encoded(frozen(Counting()), head(n)),
    "normalised": lambda n: nn.Sequential(frozen(Counting()), frozen(nn.BatchNorm1d(12)), head(n)),
}


def source() -> Any:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 1, 1, 8, 8, generator=generator)
    x = (centres + 0.8 * torch.randn(20, 12, 1, 8, 8, generator=generator)).flatten(0, 1)
    format = formats.make("array", shape=(1, 8, 8))
    return qs.tasks.arrays(x, [i // 12 for i in range(240)], format=format)


def config(name: str, **options: Any) -> RunConfig:
    return RunConfig(
        name="x", learner=learners.part(name, **options), ways=3, shots=2, queries=3, iterations=5, meta_batch=3,
        validation_episodes=4, calibration_episodes=2, batch=16, device="cpu", compile="off",
    )  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept._known.clear()
    yield
    kept._known.clear()


def run_of(made: RunConfig, module: nn.Module, folder: Path) -> qs.Run:
    return train(made, module=module, source=source(), out=folder, quiet=True)


@pytest.mark.parametrize(
    ("name", "network"),
    [*((name, "sequence") for name in ("protonet", "r2d2", "anil", "simpleshot", "finetune", "maml")),
     ("protonet", "encoder and head"), ("anil", "encoder and head"), ("protonet", "normalised")],
)  # fmt: skip
def test_features_are_kept_and_everything_else_is_the_same(
    name: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"norm": "given"} if network == "normalised" else {}
    module, made = NETWORKS[network](3), config(name, **options)
    one = run_of(made, module, tmp_path / "kept")
    SEEN[0] = 0
    measured = one.evaluate(episodes=40)
    assert SEEN[0] <= 64, "the encoder was run again"
    for where in ("quickstudy.training.step", "quickstudy.evaluation.evaluate"):
        monkeypatch.setattr(f"{where}.on_features", lambda engine, params, source: (engine, source))
    other = run_of(made, module, tmp_path / "whole")
    for key, value in other.params.items():
        torch.testing.assert_close(one.params[key], value, rtol=1e-3, atol=1e-5)
    again = other.evaluate(episodes=40)
    assert SEEN[0] > 250 and measured.mean == pytest.approx(again.mean, abs=0.01)
    assert measured.support is not None and again.support is not None
    assert measured.support.own.mean == pytest.approx(again.support.own.mean, abs=0.05)
    images = torch.randn(6, 1, 8, 8)
    models = [run.adapt(images, list("aabbcc")) for run in (one, other)]
    torch.testing.assert_close(models[0](images), models[1](images), rtol=1e-2, atol=1e-3)


def test_a_network_that_is_frozen_as_a_whole_is_run_once_in_all(tmp_path: Path) -> None:
    run = run_of(replace(config("protonet"), iterations=0), Counting(), tmp_path / "a")
    SEEN[0] = 0
    first = run.evaluate(episodes=30)
    assert SEEN[0] <= 240 + 64 and first.mean > 0.6
    run.evaluate(episodes=30, ways=4, shots=1)
    assert SEEN[0] <= 240 + 96


def test_readers_are_given_whole_support_sets_and_nothing_is_kept(tmp_path: Path) -> None:
    for iterations in (0, 2):
        run = run_of(replace(config("cnp"), iterations=iterations), Counting(), tmp_path / str(iterations))
        assert run.evaluate(episodes=4).episodes == 4


def test_features_are_found_again_on_disk_if_they_are_these(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "quickstudy")
    monkeypatch.setattr(kept, "_SLOW", 0.0)
    made = replace(config("protonet"), iterations=0)
    first = run_of(made, frozen(Counting()), tmp_path / "a").evaluate(episodes=30).mean
    assert "their features are kept in" in caplog.text
    files = list((tmp_path / "cache" / "quickstudy" / "features").iterdir())
    kept._known.clear()
    SEEN[0] = 0
    assert run_of(made, frozen(Counting()), tmp_path / "b").evaluate(episodes=30).mean == first
    assert SEEN[0] < 200, "they were not read"
    kept._known.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Counting, "forward", Other.forward)  # as by an edit of its code between two processes
        other = run_of(made, frozen(Counting()), tmp_path / "c").evaluate(episodes=30).mean
    assert other != first and "are not those of this encoder" in caplog.text
    for file in files:
        file.unlink()
    assert run_of(made, frozen(Counting()), tmp_path / "e").evaluate(episodes=30).mean == first
    kept._known.clear()
    files[0].write_bytes(b"x")
    assert run_of(made, frozen(Counting()), tmp_path / "d").evaluate(episodes=30).mean == first
    assert "cannot be used" in caplog.text


class Scaled(Counting):
    """Its weights and what it prints of itself do not tell what it computes."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.factor * self.linear(self.flat(x)))


def test_encoders_of_the_same_weights_are_told_apart_in_one_process(tmp_path: Path) -> None:
    made = replace(config("protonet"), iterations=0)
    encoders = (frozen(Counting()), frozen(Other()), frozen(Scaled(5.0)), frozen(Scaled(9.0)))
    values = [run_of(made, one, tmp_path / str(i)).evaluate(episodes=30).mean for i, one in enumerate(encoders)]
    kept._known.clear()
    for i in (3, 2, 1, 0):
        run = run_of(made, encoders[i], tmp_path / f"again{i}")
        assert run.evaluate(episodes=30).mean == values[i]
    assert len(set(values)) == 4


class Told(Counting):
    """What it computes is told by a function, a list and a tensor."""

    def __init__(self, act: Callable[[Tensor], Tensor] = torch.sin, factors: Any = (1.0,), shift: Any = 0.0) -> None:
        super().__init__()
        self.act, self.factors, self.shift = act, factors, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.factors[0] * super().forward(x) + self.shift)


class Parts(Counting):
    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        z = super().forward(x)
        return {"a": z, "b": torch.sin(20 * z)}


def hooked(factor: float) -> nn.Module:
    module = Counting()
    module.register_forward_hook(lambda layer, x, z: torch.sin(factor * z))
    return module


@pytest.mark.parametrize("on_disk", [False, True])
def test_whatever_tells_encoders_apart_their_features_are_not_those_of_another(
    on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_SLOW", 0.0 if on_disk else 1e9)
    made = replace(config("protonet"), iterations=0)
    outputs = [replace(made, output=name) for name in "ab"]
    encoders = [(made, make) for make in (
        Told, lambda: Told(torch.cos), lambda: Told(lambda z: torch.cos(9 * z)), lambda: Told(lambda z: torch.sin(z)),
        lambda: Told(factors=[9.0]), lambda: Told(factors=[20.0]), lambda: Told(shift=torch.ones(12)),
        lambda: Told(shift=2 * torch.ones(12)), lambda: hooked(9.0), lambda: hooked(30.0),
    )] + [(one, Parts) for one in outputs]  # fmt: skip
    each: list[list[float]] = []
    for clears in (True, False, False):
        values = []
        for i, (one, make) in enumerate(encoders):
            if clears:
                kept._known.clear()
                for file in (tmp_path / "cache").rglob("*.safetensors"):
                    file.unlink()
            run = run_of(one, frozen(make()), tmp_path / f"{len(each)}-{i}")
            values.append(run.evaluate(episodes=30).mean)
        each.append(values)
        encoders.reverse() if len(each) == 1 else None
    assert each[1] == each[0][::-1] and each[2] == each[1]
    assert len(set(each[0])) > 7


FACTOR = [1.0]


class Outside(Counting):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(FACTOR[0] * super().forward(x))


def test_an_encoder_whose_answers_change_is_run_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_of(replace(config("protonet"), iterations=0), frozen(Outside()), tmp_path / "a")
    values = []
    for FACTOR[0] in (1.0, 40.0, 1.0):
        values.append(run.evaluate(episodes=30).mean)
    assert values[0] == values[2] != values[1] and "answers otherwise than before" in caplog.text


def test_what_a_module_was_told_is_the_same_in_every_process() -> None:
    program = (
        "import torch; from torch import nn; from quickstudy.engine.told import told; import sys\n"
        "for _ in sys.argv[1:]: nn.Tanh().register_forward_hook(print)\n"
        "m = nn.Sequential(nn.Linear(2, 3), nn.GRU(3, 4)); m.names, m.act = {'some', 'of', 'them'}, torch.relu\n"
        "m[0].register_forward_hook(print); print(told(m))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program, *"ab"[:i]], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": str(i + 1)},
        ).stdout for i in range(3)
    ]  # fmt: skip
    assert len(runs[0]) > 32 and len(set(runs)) == 1
    assert told(Told()) == told(Told()) and told(Told()) not in (told(Told(torch.cos)), told(Told(factors=[2.0])), None)
    assert told(Told(lambda z: z)) is None


class Sined(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = super().forward(torch.sin(3 * x))
        return output


class Last(nn.Module):
    """A head with several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head(3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": self.head(x)}


def with_hook(where: int | None) -> nn.Module:
    module = nn.Sequential(frozen(Counting()), head(3))
    layer = module if where is None else module[where]
    layer.register_forward_pre_hook(lambda layer, x: (torch.sin(3 * x[0]),))
    return module


def patched() -> nn.Module:
    module = nn.Sequential(frozen(Counting()), head(3))
    module.forward = MethodType(Sined.forward, Sined(*module))  # type: ignore[method-assign]
    return module


BEYOND: dict[str, Callable[[], nn.Module]] = {
    "its own forward": lambda: Sined(frozen(Counting()), head(3)),
    "a hook": lambda: with_hook(None), "a hook of a stage": lambda: with_hook(0),
    "one part of its output": lambda: nn.Sequential(frozen(Counting()), Last()),
}  # fmt: skip


@pytest.mark.parametrize("name", BEYOND)
def test_a_sequence_that_does_more_than_call_its_layers_is_run_as_a_whole(name: str, tmp_path: Path) -> None:
    made = replace(config("protonet"), output="z" if "output" in name else "")
    run = run_of(made, BEYOND[name](), tmp_path / "a")
    measured, module = run.evaluate(episodes=40), run.module().eval()
    episodes, right = run.parts.source.episodes("test", torch.arange(40)), []
    for i in range(40):
        z, q = (module(part.x[i]) for part in episodes)
        z, q = (part["z"] if isinstance(part, dict) else part for part in (z, q))
        means = torch.stack([z[episodes.support.y[i] == k].mean(0) for k in range(3)])
        right.append((torch.cdist(q, means).argmin(1) == episodes.query.y[i]).float().mean())
    assert measured.mean == pytest.approx(float(torch.stack(right).mean()), abs=0.005)


class Store(nn.Module):
    """Two stages that share what is no module: the first leaves something there for the second."""

    def __init__(self, shared: dict[str, Tensor], gives: bool) -> None:
        super().__init__()
        self.shared, self.gives = shared, gives

    def forward(self, x: Tensor) -> Tensor:
        if self.gives:
            self.shared["x"] = x
            return torch.tanh(x)
        return x + self.shared["x"]


class Mixed(Counting):
    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        return z - z.mean(0)


def twice() -> nn.Module:
    layer = frozen(nn.Linear(12, 12))
    return nn.Sequential(frozen(Counting()), layer, nn.Linear(12, 12), layer, head(3))


def stored() -> nn.Module:
    shared: dict[str, Tensor] = {}
    return nn.Sequential(frozen(Counting()), Store(shared, True), head(12), Store(shared, False))


@pytest.mark.parametrize("make", [twice, stored, patched, lambda: nn.Sequential(frozen(Mixed()), head(3))])
def test_where_features_are_not_all_that_matters_nothing_is_kept(make: Callable[[], nn.Module]) -> None:
    tasks = source().sampled(config("protonet").sampling)
    learner: Any = learners["protonet"](make(), tasks.spec)
    engine = Engine(learner, torch.device("cpu"), "serial", "float32")
    params = learner.init(torch.Generator().manual_seed(0))
    assert kept.on_features(engine, params, tasks) == (engine, tasks) and not kept._known


def test_what_is_not_frozen_for_good_is_not_kept() -> None:
    format = formats.make("array", shape=(1, 8, 8))
    given = nn.Sequential(frozen(Counting()), nn.BatchNorm1d(12), head(3))
    for module, norm in (
        (nn.Sequential(Counting(), head(3)), "running"), (given, "running"), (given, "batch"),
        (nn.Sequential(frozen(Counting()), nn.Dropout(0.5), head(3)), "running"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "running"),
    ):  # fmt: skip
        assert halves(Network(module, norm), format) is None  # type: ignore[arg-type]
    assert halves(Network(given, "given"), format) is not None


def test_examples_that_change_before_they_are_seen_are_encoded_each_time() -> None:
    images = qs.tasks.arrays(
        torch.rand(240, 1, 8, 8), [i % 20 for i in range(240)], format=formats.make("image", size=8, channels=1)
    )
    assert kept._as_held(images)
    for changed in (replace(images, symmetries=4), replace(images, augmentation=Augment(rotate=10))):
        assert not kept._as_held(changed)
    assert not kept._as_held(qs.tasks.linear())

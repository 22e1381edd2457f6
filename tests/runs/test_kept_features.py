"""A frozen encoder is run once over a pool; what is learned and measured on its features is the same as without."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.engine import kept
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
    assert SEEN[0] <= 60, "the encoder was run again"  # the probe asks for some, the episodes for far more
    for where in ("quickstudy.training.loop", "quickstudy.evaluation.evaluate"):
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
    assert SEEN[0] <= 240 + 24 and first.mean > 0.6
    run.evaluate(episodes=30, ways=4, shots=1)
    assert SEEN[0] <= 240 + 48


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
    other = run_of(made, frozen(Other()), tmp_path / "c").evaluate(episodes=30).mean
    assert other != first and "are not those of this encoder" in caplog.text
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
    assert kept._classes(images) is images
    for changed in (replace(images, symmetries=4), replace(images, augmentation=Augment(rotate=10))):
        assert kept._classes(changed) is None
    assert kept._classes(qs.tasks.linear()) is None

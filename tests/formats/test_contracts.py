"""Every registered format and target against its contract, and the suites against some that break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from quickstudy.episode import Features, State
from quickstudy.formats import Array
from quickstudy.registry import formats, targets
from quickstudy.targets import Classes
from quickstudy.testing import check_format, check_target

RECORDS: dict[str, Any] = {
    "array": (torch.randn(5, 2, 3), {"shape": (2, 3)}),
    "image": (torch.randint(0, 256, (4, 1, 6, 6), dtype=torch.uint8), {"size": 6, "channels": 1}),
    "series": ([3.0, 4.0, 5.5, 7.0, 1.0], {"window": 3}),
    "table": ([{"a": 1.0, "b": 2.0}, {"a": 0.5, "b": -1.0}, {"a": 4.0, "b": 3.0}], {}),
}
LABELS: dict[str, Any] = {"classes": ["owl", "wren", "owl", "tern"], "numbers": [0.5, 2.0, -1.0, 3.0]}


@pytest.mark.parametrize("name", formats)
def test_every_registered_format_keeps_the_contract(name: str) -> None:
    records, options = RECORDS[name]
    check_format(formats.make(name, **options), records)


@pytest.mark.parametrize("name", targets)
def test_every_registered_target_keeps_the_contract(name: str) -> None:
    check_target(targets.make(name), LABELS[name])


def test_image_files_keep_the_contract(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        Image.effect_noise((20, 14), 60 + i).save(tmp_path / f"class{i % 2}" / f"{i}.png")
    format = formats.make("image", size=8, channels=3)
    check_format(format, format.find(tmp_path).items)


@pytest.mark.parametrize("pixels", [torch.zeros(3, 3, 8, 8).byte(), torch.full((3, 3, 8, 8), 255).byte()])
def test_bytes_are_pixels_to_images_and_numbers_to_arrays(pixels: Tensor) -> None:
    image, array = formats.make("image", size=8), formats.make("array", shape=(3, 8, 8))
    assert torch.equal(image.features(image.store(pixels).x), pixels / 255)
    assert torch.equal(array.features(array.store(pixels).x), pixels.float())


@dataclass(frozen=True, kw_only=True)
class _Centred(Array):
    """Features that depend on the other records."""

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored - stored.mean(0)


@dataclass(frozen=True, kw_only=True)
class _Doubles(Array):
    """Features of another type than it says."""

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored.double()


@dataclass(frozen=True, kw_only=True)
class _Lenient(Array):
    """Takes whatever it is given."""

    def check(self, x: Features, lead: int, name: str = "x") -> None:
        return None


@pytest.mark.parametrize(
    ("broken", "said"),
    [(_Centred, "other features alone"), (_Doubles, "float64, but"), (_Lenient, "an axis too many")],
)
def test_formats_that_break_the_contract_are_named(broken: Callable[..., Array], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_format(broken(shape=(2,)), torch.randn(4, 2))


@dataclass(frozen=True, kw_only=True)
class _CountsPadding(Classes):
    """A loss over all examples."""

    def loss(self, prediction: Tensor, examples: Any, smoothing: float = 0.0) -> Tensor:
        return self.losses(prediction, examples.y, smoothing).mean()


@dataclass(frozen=True, kw_only=True)
class _Climbs(Classes):
    """A loss whose sign is wrong where it is computed, but not in its gradient."""

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        cost = super().losses(prediction, y, smoothing)
        return cost - 2 * cost.detach()


@pytest.mark.parametrize(
    ("broken", "said"), [(_CountsPadding, "masked example counts"), (_Climbs, "does not fall along its gradient")]
)
def test_targets_that_break_the_contract_are_named(broken: Callable[..., Classes], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_target(broken(), LABELS["classes"])

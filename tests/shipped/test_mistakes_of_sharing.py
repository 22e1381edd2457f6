"""What is asked of models of the package that they were not made for, and what cannot be given on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import quickstudy as qs
from quickstudy.errors import ConfigError, DataError
from quickstudy.shipped.tables import are_numbers


def cross(pen: int) -> Image.Image:
    image = Image.new("L", (40, 40), 255)
    for line in ((8, 8, 30, 30), (8, 30, 30, 8)):
        ImageDraw.Draw(image).line(line, fill=0, width=pen)
    return image


def test_classes_that_nothing_tells_apart_are_not_said_to_be_told_apart() -> None:
    """Noise looks like no character. What validation tasks were like must not outweigh what its examples show."""
    noise = (torch.rand(100, 1, 28, 28, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    model = qs.pretrained("handwriting", device="cpu").adapt(noise, [f"c{i // 5:02}" for i in range(100)])
    said = model.estimate
    assert said.low <= 0.05 <= said.high < 0.2 and said.tasks == 0
    assert "left-out examples" in str(said) and "probabilities and sets" in said.note


def test_what_lies_in_a_folder_called_photos_is_no_validation_of_them(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for label in range(30):
        (tmp_path / "photos" / f"c{label}").mkdir(parents=True)
        for number in range(3):
            cross(1 + number).save(tmp_path / "photos" / f"c{label}" / f"{number}.png")
    run = qs.pretrained("photos", encoder=qs.registry.models.part("conv4", width=8), device="cpu")
    with pytest.raises(DataError, match="No classes were held out"):
        _ = run.trust
    assert run.told()[2] == ("validation", "none")
    folder = run.save_pretrained(tmp_path / "given")
    assert qs.from_hub(folder).card["figures"] == []  # type: ignore[index]


def test_a_blank_drawing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    model = qs.pretrained("handwriting", device="cpu").adapt([cross(3), cross(9)], ["small", "thick"])
    model.predict([Image.new("L", (50, 50), 255)])
    assert "1 drawings are blank" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"licence": 3}, {"data": ["Omniglot"]}, {"figures": [{"what": "x"}]}, {"limits": "Lines only."}]
)
def test_a_card_that_is_none_is_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"the card\['{next(iter(wrong))}'\]"):
        qs.pretrained("handwriting", device="cpu").save_pretrained(tmp_path / "given", **wrong)
    assert not (tmp_path / "given").exists()


def test_two_runs_of_one_name_are_not_given_on_as_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tables-numbers"):
        qs.pretrained("tables", device="cpu").save_pretrained(tmp_path / "given")


def test_numbers_of_which_one_is_missing_are_no_classes() -> None:
    labels = [1.5, None, 2.5, float("nan")]
    assert are_numbers(labels, 10) and not are_numbers([None], 10)
    with pytest.raises(DataError, match="NaN|missing"):
        qs.pretrained("tables", device="cpu").adapt(np.random.RandomState(0).rand(4, 2), np.array(labels, dtype=float))


def test_processes_that_ask_for_photos_at_once_all_get_them(own_cache: Path) -> None:
    asked = """
import quickstudy as qs
print(qs.pretrained("photos", encoder=qs.registry.models.part("conv4", width=12), device="cpu").kept["step"])
"""
    several = [subprocess.Popen([sys.executable, "-c", asked], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [one.communicate(timeout=120)[0] for one in several] == ["0\n"] * 3

"""Every registered format against its contract, and the suite against some that break it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from quickstudy.episode import Features, State
from quickstudy.formats import Array, Format, Leaf, Records, Stored
from quickstudy.formats.records import Broken, all_kept
from quickstudy.registry import formats
from quickstudy.testing import check_format


def _numbers(folder: Path) -> Any:
    records = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    for i, one in enumerate(records):
        path = folder / f"class{i // 2}" / f"{i}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, one.numpy())
    return formats.make("array", shape=(2, 3)), records, folder


def _pictures(folder: Path) -> Any:
    generator = torch.Generator().manual_seed(0)
    records = torch.randint(0, 256, (4, 1, 6, 6), dtype=torch.uint8, generator=generator)
    for i, one in enumerate(records):
        path = folder / f"class{i // 2}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(one[0].numpy()).save(path)
    return formats.make("image", size=6, channels=1), records, folder


def _drawings(folder: Path) -> Any:
    records = []
    for i in range(4):
        canvas = np.full((40, 50), 255 * (i % 2), dtype=np.uint8)
        canvas[5 : 15 + 5 * i, 12] = canvas[9, 8 : 20 + i] = 255 - 255 * (i % 2)
        path = folder / f"class{i // 2}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(canvas).save(path)
        records.append(canvas)
    return formats.make("ink", size=12), records, folder


def _series(folder: Path) -> Any:
    values = [3.0, 4.0, 5.5, 7.0, 1.0]
    (folder / "one.csv").write_text("series,value\n" + "".join(f"a,{value}\n" for value in values))
    return formats.make("series", window=3), torch.tensor(values), folder / "one.csv"


def _table(folder: Path) -> Any:
    rows = [{"a": 1.0, "b": 2.0}, {"a": 0.5, "b": -1.0}, {"a": 4.0, "b": 3.0}]
    (folder / "rows.csv").write_text("b,label,a\n" + "".join(f"{row['b']},x,{row['a']}\n" for row in rows))
    return formats.make("table"), rows, folder / "rows.csv"


def _texts(folder: Path) -> Any:
    pytest.importorskip("tokenizers")
    records = ["Where is my card?", "我的卡在哪里？", "أين بطاقتي؟", "a  B"]
    (folder / "texts.csv").write_text("label,text\n" + "".join(f"a,{text}\n" for text in records), encoding="utf-8")
    return formats.make("text", length=12).learn(records), records, folder / "texts.csv"


def _sounds(folder: Path) -> Any:
    soundfile = pytest.importorskip("soundfile")
    records = 0.1 * torch.randn(4, 800, generator=torch.Generator().manual_seed(0))
    for i, one in enumerate(records):
        path = folder / f"class{i // 2}" / f"{i}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, one.numpy(), 8000, subtype="FLOAT")
    return formats.make("audio", rate=8000, seconds=0.1, mels=8), records, folder


def _steps(folder: Path) -> Any:
    records = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    return formats.make("steps", observation=(3,)), records, None  # environments are no files


RECORDS: dict[str, Callable[[Path], Any]] = {
    "array": _numbers,
    "audio": _sounds,
    "image": _pictures,
    "ink": _drawings,
    "series": _series,
    "steps": _steps,
    "table": _table,
    "text": _texts,
}
"""For each format: itself, some records in memory, and where the same ones lie as files."""


@pytest.mark.parametrize("name", formats)
def test_every_registered_format_keeps_the_contract(name: str, tmp_path: Path) -> None:
    format, records, place = RECORDS[name](tmp_path)
    check_format(format, records, place)


def test_image_files_of_any_size_keep_the_contract(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        Image.effect_noise((20, 14), 60 + i).save(tmp_path / f"class{i % 2}" / f"{i}.png")
    format = formats.make("image", size=8, channels=3)
    check_format(format, format.find(tmp_path).items, tmp_path)


def test_records_and_files_that_differ_are_told(tmp_path: Path) -> None:
    format, records, place = _numbers(tmp_path)
    with pytest.raises(AssertionError, match="other features than those in memory"):
        check_format(format, records.flip(0), place)


@pytest.mark.parametrize("pixels", [torch.zeros(3, 3, 8, 8).byte(), torch.full((3, 3, 8, 8), 255).byte()])
def test_bytes_are_pixels_to_images_and_numbers_to_arrays(pixels: Tensor) -> None:
    image, array = formats.make("image", size=8), formats.make("array", shape=(3, 8, 8))
    assert torch.equal(image.features(image.store(pixels).x), pixels / 255)
    assert torch.equal(array.features(array.store(pixels).x), pixels.float())


@dataclass(frozen=True, kw_only=True)
class _Tokens(Format):
    """Ids and a mask: two tensors, of which none is what was stored."""

    length: int = 3

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"ids": Leaf((self.length,), torch.int64), "mask": Leaf((self.length,))}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        ids = torch.zeros((len(records), self.length), dtype=torch.int16)
        for row, text in zip(ids, records, strict=True):
            row[: len(text)] = torch.tensor([ord(letter) for letter in text])
        return all_kept({"ids": ids})

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, dict)
        return {"ids": stored["ids"].long(), "mask": (stored["ids"] > 0).float()}


@pytest.fixture
def registered() -> Any:
    """Registers a class for one test."""
    names: list[str] = []

    def add(kind: type[Format]) -> type[Format]:
        names.append(kind.__name__)
        return formats.register(kind.__name__)(kind)

    yield add
    for name in names:
        formats._entries.pop(name)


def test_a_format_of_several_tensors_keeps_the_contract(registered: Any) -> None:
    check_format(registered(_Tokens)(), ["ab", "c", "dee"])


def test_a_format_that_nobody_can_name_again_is_told() -> None:
    with pytest.raises(Exception, match="Register it"):
        check_format(_Tokens(), ["ab", "c"])


class _Centred(Array):
    """Features that depend on the other records."""

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored - stored.mean(0)


class _Doubles(Array):
    """Features of another type than it says."""

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored.double()


class _InPlace(Array):
    """Features that take the place of what was stored."""

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored.mul_(2)


class _Ranked(Array):
    """Features that say which task they are from, where there are several."""

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        assert isinstance(stored, Tensor)
        return stored if stored.dim() == 2 else stored + 1


class _Lenient(Array):
    """Takes whatever it is given."""

    def check(self, x: Features, lead: int, name: str = "x") -> None:
        return None


class _Gaps(Array):
    """Stores NaN as it is."""

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(torch.as_tensor(records))


class _Unlabelled(Array):
    """Learns without labels."""

    def examples(self, stored: Features, labels: Any, fitted: State) -> tuple[Features, Any]:
        return stored, labels


class _Sketchy(Array):
    """Draws what no page can show."""

    def draw(self, x: Features) -> Any:
        return "a sketch"


class _OneWay(Array):
    """Points that are not led back."""

    def from_coordinates(self, points: Tensor) -> Features:
        return -points


@dataclass(frozen=True, kw_only=True)
class _Forgetful(Array):
    """Equal only to itself."""

    since: list[int] = field(default_factory=lambda: [0])


class _Mislabelled(Array):
    """Finds more labels than records."""

    def find(self, place: Any, labelled: bool = True) -> Records:
        return Records(torch.zeros(2, 2).unbind(), ["a", "b"], labels=["x"])


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (_Centred, "other features alone"),
        (_Doubles, "float64, but"),
        (_InPlace, "in place"),
        (_Ranked, "an axis of tasks in front"),
        (_Lenient, "an axis too many must be refused by ShapeError, but was taken"),
        (_Gaps, "neither refused by `store` nor filled"),
        (_Unlabelled, "without labels must be refused by DataError"),
        (_Sketchy, "gives a str, no Drawing"),
        (_OneWay, "does not undo `coordinates`"),
        (_Forgetful, "another one after it was stored as JSON"),
        (_Mislabelled, "2 items and 1 labels"),
    ],
)
def test_formats_that_break_the_contract_are_named(registered: Any, broken: Any, said: str) -> None:
    records = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError, match=said):
        check_format(registered(broken)(shape=(2,)), records, "anywhere" if broken is _Mislabelled else None)

"""What was read once is kept on disk, and found again only for the same files and the same format."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from quickstudy.formats import image as reading_images
from quickstudy.formats.records import Records
from quickstudy.registry import formats
from quickstudy.tasks import stored
from quickstudy.tasks.folder import folder
from quickstudy.tasks.stored import Read, prints, read, say_doubles

GREY = formats.make("image", size=8, channels=1)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_MANY", 4)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded."""
    seen: list[str] = []
    plain = reading_images.decode
    monkeypatch.setattr(
        reading_images, "decode", lambda file, *rest, **named: (seen.append(str(file)), plain(file, *rest, **named))[1]
    )
    return seen


def noise(path: Path, size: tuple[int, int] = (20, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 90).save(path)
    return path


def records(place: Path, count: int = 5) -> Records:
    return GREY.find([noise(place / f"{i}.png") for i in range(count)], labelled=False)


def same(one: Read, other: Read) -> bool:
    x, y = one.stored.x, other.stored.x
    assert isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor)
    return torch.equal(x, y) and torch.equal(one.prints, other.prints) and one.stored[1:] == other.stored[1:]


def test_the_second_time_nothing_is_decoded(tmp_path: Path, decoded: list[str]) -> None:
    some = records(tmp_path)
    first = read(GREY, some, "refuse")
    assert len(decoded) == 5
    second = read(GREY, some, "refuse")
    assert len(decoded) == 5 and same(first, second)
    plain = GREY.store(some.items)
    assert torch.equal(second.stored.x, plain.x) and second.stored.notices == plain.notices  # type: ignore[arg-type]


def test_what_is_changed_in_memory_is_not_changed_on_disk(tmp_path: Path) -> None:
    some = records(tmp_path)
    x = read(GREY, some, "refuse").stored.x
    assert isinstance(x, torch.Tensor)
    before = x.clone()
    x.zero_()
    again = read(GREY, some, "refuse").stored.x
    assert isinstance(again, torch.Tensor) and torch.equal(again, before)


def test_other_files_or_formats_are_read(tmp_path: Path, decoded: list[str]) -> None:
    some = records(tmp_path)
    read(GREY, some, "refuse")
    read(formats.make("image", size=9, channels=1), some, "refuse")
    read(GREY, some.chosen([0, 1, 2, 3]), "refuse")
    assert len(decoded) == 14
    noise(some.items[2])
    os.utime(some.items[2], ns=(1, 1))
    read(GREY, some, "refuse")
    assert len(decoded) == 19


def test_a_format_is_all_that_it_holds(tmp_path: Path) -> None:
    """Another tokenizer, which a format does not print, gives other numbers for the same files."""
    pytest.importorskip("tokenizers")
    for i, text in enumerate(["where is my card", "what does it cost", "my card is lost", "cards and costs", "is it"]):
        (tmp_path / f"{i}.txt").write_text(text)
    taught = (["where is my card"] * 9, ["what does it cost, and is it lost"] * 9)
    one, other = (formats.make("text", vocabulary=300).learn(texts) for texts in taught)
    some = one.find([tmp_path / f"{i}.txt" for i in range(5)], labelled=False)
    first, second = read(one, some, "refuse"), read(other, some, "refuse")
    plain = other.store(some.items)
    assert all(torch.equal(second.stored.x[name], plain.x[name]) for name in plain.x)
    assert any(not torch.equal(second.stored.x[name], first.stored.x[name]) for name in plain.x)


def test_what_is_skipped_is_skipped_again_and_said_again(tmp_path: Path, decoded: list[str]) -> None:
    some = records(tmp_path)
    some.items[1].write_bytes(b"no image")
    first = read(GREY, some, "skip")
    assert first.stored.kept == [0, 2, 3, 4] and "1 unreadable images left out" in " ".join(first.stored.notices)
    assert same(first, read(GREY, some, "skip")) and len(decoded) == 5


@pytest.mark.parametrize("damage", ["cut", "no facts", "strange facts"])
def test_a_damaged_cache_is_said_and_made_again(
    damage: str, tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = records(tmp_path)
    first = read(GREY, some, "refuse")
    kept = max((own_cache / "quickstudy" / "records").glob("*/facts.json"), key=lambda path: path.stat().st_mtime)
    if damage == "cut":
        kept.with_name("x.bin").unlink()  # another file: the first is mapped by what was read
        kept.with_name("x.bin").write_bytes(bytes(100))
    elif damage == "no facts":
        kept.unlink()
    else:
        kept.write_text('{"leaves": 3}')
    assert same(first, read(GREY, some, "refuse"))
    assert ("cannot be used" in caplog.text) == (damage != "no facts")


def test_a_full_disk_costs_the_cache_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    some = records(tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with caplog.at_level(logging.WARNING, "quickstudy"):
        found = read(GREY, some, "refuse")
    assert torch.equal(found.stored.x, GREY.store(some.items).x)  # type: ignore[arg-type]
    assert "Could not keep what was read" in caplog.text and "No space left" in caplog.text


def test_fingerprints_are_equal_for_equal_examples_only() -> None:
    x = torch.randint(0, 255, (5000, 3, 7), dtype=torch.uint8)
    x[4999] = x[3]
    both = {"x": x, "length": torch.arange(5000)}
    found = prints(x)
    assert found[4999] == found[3] and len(set(found.tolist())) == 4999
    assert len(set(prints(both).tolist())) == 5000


def test_what_is_equal_in_two_classes_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "quickstudy"):
        say_doubles(torch.tensor([1, 2, 1, 2, 3]), ["a", "b", "a", "c", "c"], list("vwxyz"), "images")
    assert [record.getMessage() for record in caplog.records] == [
        "1 images are equal to another that may be in the same task, such as v and x (a): what is asked about was "
        "shown, then, and figures look better than they are. Take out what is a copy.",
        "1 images are equal to one of another class, such as w (b) and y (c): nothing can tell them apart.",
    ]


def test_small_classes_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for c in range(7):
        for i in range(2 if c in (1, 4) else 4):
            noise(tmp_path / f"c{c}" / f"{i}.png")
    with caplog.at_level(logging.WARNING, "quickstudy"):
        source = folder(root=str(tmp_path), size=8, min_class=3, val=0, test=0)
    assert "2 of 7 classes left out, which have fewer than 3 records: c1, c4" in caplog.text
    assert source.classes("train") == source.classes("val") == ["c0", "c2", "c3", "c5", "c6"]  # none is held out


def test_other_files_and_deeper_folders_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a/1.png", "a/2024/2.jfif", "b/1.png", "b/2.avif"):
        path = noise(tmp_path / f"{name}.png")
        Image.open(path).convert("L").save(tmp_path / name, format="AVIF" if "avif" in name else "JPEG")
        path.unlink()
    (tmp_path / "a" / "notes.txt").write_text("none")
    (tmp_path / "a" / "Thumbs.db").write_text("none")
    with caplog.at_level(logging.WARNING, "quickstudy"):
        found = GREY.find(tmp_path)
    assert found.labels == ["a", "a", "b", "b"] and len(GREY.store(found.items).kept) == 4
    assert "1 files left out" in caplog.text and "notes.txt" in caplog.text and "Thumbs" not in caplog.text
    assert "1 images lie in sub-folders of their class" in caplog.text and "2024" in caplog.text

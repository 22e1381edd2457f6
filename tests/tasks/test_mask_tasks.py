"""Tasks of masks from files: which images, which concepts, which pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mask_files import SHADES, SIZE, drawing, save, write_concepts

import quickstudy as qs
from quickstudy.errors import ConfigError, DataError
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.masks import MaskSource
from quickstudy.testing import check_source


@pytest.fixture
def concepts(tmp_path: Path) -> Path:
    """A folder for each concept, with images and masks in it."""
    write_concepts(tmp_path / "all")
    return tmp_path / "all"


@pytest.fixture
def emoji(tmp_path: Path) -> Path:
    """A folder of transparent images for each concept."""
    for number, (name, shade) in enumerate(SHADES.items()):
        for i in range(6):
            image, mask = drawing(10 * number + i, shade)
            save(tmp_path / "emoji" / name / f"{i}.png", np.dstack([image, 255 * mask]))
    for i in range(6):
        save(tmp_path / "photos" / f"{i}.png", np.full((SIZE, SIZE, 3), [10, 10 + 40 * i, 99]))
    return tmp_path


def at(root: Path, ways: int = 2, shots: int = 2, queries: int = 2, **options: Any) -> MaskSource:
    return qs.tasks.masks(root=str(root), size=SIZE, **options).sampled(Sampling(ways, shots, queries))


@pytest.mark.parametrize("ways", [2, 3])
def test_it_is_a_source(concepts: Path, ways: int) -> None:
    shares = {"val": 0.4, "test": 0.4} if ways == 2 else {}
    source = at(concepts, ways, **(shares or {"val": 0.0, "test": 0.0}))
    check_source(source, ("train", "val", "test") if shares else ("train",))


@pytest.mark.parametrize("ways", [2, 3])
def test_labels_are_where_the_concepts_are(concepts: Path, ways: int) -> None:
    source = at(concepts, ways, 4, 2, val=0.0, test=0.0)
    tasks = source.episodes("train", torch.arange(5))
    for i in range(5):
        names = source.class_names("train", i)
        assert names[0] == "background" and len(set(names)) == ways
        for part in tasks:
            for j, (x, y) in enumerate(zip(part.x[i], part.y[i], strict=True)):  # type: ignore[arg-type]
                wanted = 1 + j % (ways - 1)
                assert sorted(y.unique().tolist()) == [0, wanted]
                assert {round(255 * float(v)) for v in x[0][y == wanted]} == {SHADES[names[wanted]]}


def test_all_augmented_images_move_with_their_masks_in_training_alone(concepts: Path) -> None:
    options = {"flip": 0.5, "rotate": 20.0, "translate": 0.2, "val": 0.2, "test": 0.2}
    plain, moved = at(concepts, val=0.2, test=0.2), at(concepts, **options)
    indices = torch.arange(4)
    assert torch.equal(plain.episodes("test", indices).support.y, moved.episodes("test", indices).support.y)
    assert torch.equal(moved.plain().episodes("train", indices).query.y, plain.episodes("train", indices).query.y)
    train = moved.episodes("train", indices)
    assert not torch.equal(train.support.y, plain.episodes("train", indices).support.y)
    assert (train.support.y == 255).any()
    red = train.support.x[:, :, 0]  # type: ignore[index,call-overload]
    assert float(red[train.support.y == 1].mean()) > 3 * float(red[train.support.y == 0].mean())
    again = moved.episodes("train", indices)
    assert torch.equal(train.support.x, again.support.x) and torch.equal(train.query.y, again.query.y)  # type: ignore[arg-type]


def test_one_folder_of_several_classes_gives_tasks_of_each(tmp_path: Path) -> None:
    for i in range(8):
        mask = np.zeros((SIZE, SIZE))
        mask[:4] = 1
        mask[6:, : 1 + i % 2] = 2
        mask[0, 0] = 9
        save(tmp_path / "images" / f"{i}.png", np.full((SIZE, SIZE, 3), 20 * i))
        save(tmp_path / "masks" / f"{i}.png", mask)
    (tmp_path / "classes.txt").write_text("0 background\n1 roof\n2 door\n9 void\n")
    source = at(tmp_path, 2, 3, 3, val=0.0, test=0.0)
    assert source.classes("train") == ["roof", "door"]
    tasks, seen = source.episodes("train", torch.arange(20)), set()
    for i in range(20):
        concept = source.class_names("train", i)[1]
        seen.add(concept)
        assert (tasks.query.y[i, :, 0, 0] == 255).all()
        assert (tasks.query.y[i, :, 1, 1] == (concept == "roof")).all()
        images = torch.cat([tasks.support.x[i], tasks.query.x[i]])[:, 0, 0, 0]  # type: ignore[index,list-item]
        assert len(images.unique()) == 6, "no image may be in a task twice"
    assert seen == {"roof", "door"}
    both = at(tmp_path, 3, 3, 3, val=0.0, test=0.0).episodes("train", torch.arange(4))
    assert all(sorted(y.unique().tolist()) == [0, 1, 2, 255] for y in both.support.y.flatten(0, 1))


def test_transparent_images_are_pasted_on_photographs_of_their_own_split(emoji: Path) -> None:
    source = at(emoji / "emoji", photographs=str(emoji / "photos"), val=0.2, test=0.2)
    check_source(source)
    tasks = source.episodes("test", torch.arange(30))
    x, y = tasks.support.x.flatten(0, 1), tasks.support.y.flatten(0, 1)  # type: ignore[union-attr]
    assert y.unique().tolist() == [0, 1] and (y == 1).flatten(1).any(1).float().mean() > 0.8
    assert float(x[:, 1][y == 0].quantile(0.9) - x[:, 1][y == 0].quantile(0.1)) < 0.01, "one photograph is for tests"
    name = source.class_names("test", 0)[1]
    inside = x[:2, 0][y[:2] == 1]
    assert abs(float(inside.median()) * 255 - SHADES[name]) < 25


def test_distractors_are_of_other_concepts_and_background(emoji: Path) -> None:
    options = {"photographs": str(emoji / "photos"), "val": 0.0, "test": 0.0}
    plain, crowded = (at(emoji / "emoji", distractors=n, **options) for n in (0, 2))
    one, other = (s.episodes("train", torch.arange(6)) for s in (plain, crowded))
    assert other.support.y.unique().tolist() == [0, 1]
    flat = [part.support.x.flatten(3).std(3).mean() for part in (one, other)]  # type: ignore[union-attr]
    assert float(flat[1]) > float(flat[0])


@pytest.mark.parametrize(
    ("options", "size", "words"),
    [
        ({"val": 0.0, "test": 0.0}, (7, 1, 1), "need 6 concepts"),
        ({"val": 0.0, "test": 0.0}, (2, 4, 4), "need 8 images of each concept, but of 'ant'"),
    ],
)
def test_too_few_concepts_or_images_are_said(concepts: Path, options: Any, size: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        at(concepts, *size, **options).check("train")


def test_small_concepts_are_left_out_and_nothing_but_background_is_refused(
    concepts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(concepts / "bee" / "images" / "0.png", np.zeros((SIZE, SIZE, 3)))
    save(concepts / "bee" / "masks" / "0.png", np.eye(SIZE))
    source = at(concepts, min_class=4, val=0.0, test=0.0)
    assert "bee" not in source.classes("train") and "bee" in caplog.text
    save(tmp_path / "empty" / "images" / "0.png", np.zeros((SIZE, SIZE, 3)))
    save(tmp_path / "empty" / "masks" / "0.png", np.zeros((SIZE, SIZE)))
    with pytest.raises(DataError, match="nothing but background"):
        at(tmp_path / "empty")


def test_sizes_that_mean_nothing_are_refused(concepts: Path) -> None:
    with pytest.raises(ConfigError, match="2 ways at least"):
        at(concepts, 1)
    with pytest.raises(ConfigError, match="same number of classes"):
        at(concepts).sampled(Sampling(3, 2, 2, min_ways=2))
    with pytest.raises(ConfigError, match="photographs"):
        at(concepts, distractors=1)


def test_shots_may_vary(concepts: Path) -> None:
    source = at(concepts, val=0.0, test=0.0).sampled(Sampling(2, 3, 2, min_shots=1))
    counts = source.episodes("train", torch.arange(40)).support.mask.sum(1)
    assert counts.unique().tolist() == [1, 2, 3]


@pytest.mark.parametrize("ways", [2, 3])
def test_frames_of_one_film_are_on_one_side_of_a_task(tmp_path: Path, ways: int) -> None:
    for number, (name, shade) in enumerate(SHADES.items()):
        for i in range(6):
            image, mask = drawing(10 * number + i, shade)
            save(tmp_path / "a" / name / "images" / f"film{i % 3}_{i}.png", image)
            save(tmp_path / "a" / name / "masks" / f"film{i % 3}_{i}.png", mask)
    source = at(tmp_path / "a", ways, 2, 2, val=0.0, test=0.0, group="film([0-9]+)_")
    check_source(source, ("train",))
    assert source.records is not None and source.records.count == 3
    every = source.spec.format.features(source.x)
    tasks = source.episodes("train", torch.arange(30))
    sides = [(part.x.flatten(2)[:, :, None] == every.flatten(1)).all(-1).long().argmax(-1) for part in tasks]  # type: ignore[union-attr]
    for given, asked in zip(*(source.records.of[side] for side in sides), strict=True):
        assert not set(given.tolist()) & set(asked.tolist())
    with pytest.raises(DataError, match="of the split 'train' are of one group"):
        at(tmp_path / "a", val=0.0, test=0.0, group="(film)").check("train")
    with pytest.raises(DataError, match="'test' has records of which nobody knows the group"):
        at(tmp_path / "a", val=0.2, test=0.2, group="film([0-1])_").check("test")


def test_images_that_are_there_twice_are_named(concepts: Path, caplog: pytest.LogCaptureFixture) -> None:
    at(concepts)
    assert "are equal to another" not in caplog.text
    for part in ("images", "masks"):
        (concepts / "cat" / part / "again.png").write_bytes((concepts / "cat" / part / "0.png").read_bytes())
    at(concepts)
    assert "1 images are equal to another that may be in the same task" in caplog.text

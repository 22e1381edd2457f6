"""Every registered source against the contract, and the contract's suite against sources that break it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import drawing
from mask_files import write_concepts
from record_files import FLAT, domain

from quickstudy import rng
from quickstudy.episode import Episode, Examples
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import sources
from quickstudy.rl import EnvironmentSource
from quickstudy.spec import check_episode
from quickstudy.tasks import arrays, glyphs, linear, sinusoid
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.mixture import Mixture
from quickstudy.tasks.pooled import PooledSource
from quickstudy.testing import check_source

SMALL = Sampling(ways=2, shots=2, queries=3)


def small_tasks(source: Source) -> Sampling:
    """Of environments, which have no classes to count, of one way."""
    return replace(SMALL, ways=1) if isinstance(source, EnvironmentSource) else SMALL


@pytest.fixture
def options(archives: Path, photos: Path, walks: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What each source needs to run here; a source that needs nothing may be left out."""
    return {
        "folder": {"root": str(photos), "size": 12},
        "omniglot": {"root": str(archives), "split": "lake", "validation": ("Hebrew",)},
        "glyphs": {"alphabets": 30},
        "masks": {"root": str(concepts(tmp_path / "concepts")), "size": 8},
        "domains": {"domains": (f"one={photos}", f"other={photos}"), "options": ("size", "8")},
        "tfrecords": {"root": str(write_domain(tmp_path / "domain")), "size": 8},
        "records": {"root": str(photos), "format": "image", "options": ("size", "12")},
        "table_csv": {"path": str(rows_csv(walks.parent / "rows.csv"))},
        "unlabelled": {
            "root": str(unsorted(tmp_path / "unsorted")),
            "options": ("size", "12", "channels", "1"),
            "distort": ("rotate", "20", "translate", "0.1"),
        },
        "text": {"path": str(texts_csv(tmp_path / "texts.csv")), "vocabulary": 300},
        "series_csv": {"path": str(walks), "series": "sensor", "value": "°C"},
        "gym": {"id": "cartpole", "horizon": 5, "workers": 0},
        **{name: {"horizon": 5} for name in ("arcade", "gridworld", "highway", "point-robot", "tabular-mdp")},
    }


def write_domain(path: Path) -> Path:
    """Eleven classes with six images each."""
    return domain(path, 11, FLAT)


def concepts(path: Path) -> Path:
    """Five concepts, six images with masks of each."""
    write_concepts(path)
    return path


def unsorted(path: Path) -> Path:
    """Forty drawings without labels, and six classes of eight for validation and for tests."""
    for split, classes in (("", 5), ("val", 6), ("test", 6)):
        for c in range(classes):
            own = path / split / (f"{split} {c}" if split else "all")
            own.mkdir(parents=True, exist_ok=True)
            for i in range(8):
                drawing(len(split), c, i).save(own / f"{c} {i}.png")
    return path


def texts_csv(path: Path) -> Path:
    """Ten kinds of questions, eight of each."""
    lines = ["text,label", *(f"who has {k} of the {'abcdefghij'[i]} in {i}?,{i}" for i in range(10) for k in range(8))]
    path.write_text("\n".join(lines))
    return path


def rows_csv(path: Path) -> Path:
    """Ten kinds of plants, eight rows each."""
    lines = ["height,width,label", *(f"{i + k / 9},{i * k},plant {i}" for i in range(10) for k in range(8))]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("name", sources)
def test_every_registered_source_keeps_the_contract(
    name: str, options: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    if name == "text":
        pytest.importorskip("tokenizers")
    if name == "gym":
        pytest.importorskip("gymnasium")
    if name == "audio":
        pytest.importorskip("soundfile")
        options[name] = {"root": str(importlib.import_module("sounds").folder(tmp_path / "sounds")), "mels": 16}
    if name in ("utterances", "transcripts"):
        pytest.importorskip("soundfile")
        sounds = importlib.import_module("sounds")
        small = {"rate": 8000, "seconds": 1.5, "mels": 16}
        place = {"path": str(sounds.transcribed(tmp_path / "said"))}
        if name == "utterances":
            place = {"root": str(sounds.spoken(tmp_path / "spoken")), "group": "(s[0-9]+)-"}
        options[name] = place | small
    source = sources.part(name, **options.get(name, {})).build()
    check_source(source.sampled(small_tasks(source)))
    assert sources.summary(name).endswith(".") and len(sources.summary(name)) < 80


@pytest.mark.parametrize("name", ["folder", "omniglot", "glyphs"])
def test_ways_and_shots_vary_where_asked(name: str, options: dict[str, dict[str, Any]]) -> None:
    source = sources.part(name, **options[name]).build()
    sampling = Sampling(ways=2 if name == "folder" else 5, shots=3, queries=2, min_ways=2, min_shots=1)
    source = source.sampled(sampling)
    check_source(source)
    episode = source.episodes("train", torch.arange(200))
    shots = episode.support.mask.reshape(200, sampling.ways, 3).sum(2)
    present = (shots > 0).sum(1)
    assert sorted(present.unique().tolist()) == list(range(2, sampling.ways + 1))
    assert set(shots.flatten().tolist()) - {0} == {1, 2, 3}
    queries = episode.query.mask.reshape(200, sampling.ways, 2)
    assert torch.equal(queries.any(2), shots > 0)


@pytest.mark.parametrize("name", ["folder", "omniglot", "glyphs"])
def test_class_names_follow_the_ids(name: str, options: dict[str, dict[str, Any]]) -> None:
    source = sources.part(name, **options[name]).build().sampled(SMALL)
    names = source.class_names("test", 3)
    assert len(set(names)) == 2
    assert names == source.class_names("test", 3) and names != source.class_names("test", 4) + source.class_names(
        "test", 5
    )


def test_glyphs_of_an_alphabet_stay_together_and_splits_apart() -> None:
    source = glyphs(alphabets=30, characters=8, within=True).sampled(SMALL)
    seen = {
        s: {n.split("/")[0] for i in range(300) for n in source.class_names(s, i)} for s in ("train", "val", "test")
    }
    assert {s: len(n) for s, n in seen.items()} == {"train": 24, "val": 3, "test": 3}
    assert not (seen["train"] & seen["test"] or seen["train"] & seen["val"] or seen["val"] & seen["test"])
    assert all(len({n.split("/")[0] for n in source.class_names("train", i)}) == 1 for i in range(50))
    with pytest.raises(ConfigError, match="alphabets must be at least 3, found 2"):
        glyphs(alphabets=2)


def test_mixtures_need_tasks_that_look_alike() -> None:
    with pytest.raises(ConfigError, match="can be mixed if their tasks look alike"):
        Mixture(first=linear(), second=sinusoid(), share=0.5)
    with pytest.raises(ConfigError, match=r"\[0, 1\], found 1.5"):
        Mixture(first=linear(), second=linear(), share=1.5)
    points = arrays(rng.normal(rng.key(0), (60, 2)), torch.arange(10).repeat(6)).sampled(SMALL)
    mixed = Mixture(first=linear().sampled(SMALL), second=points.seeded(5), share=0.5)
    check_source(mixed, disjoint=False)
    assert mixed.second.seed == mixed.seed
    for part in (0.0, 1.0):
        alone = (mixed.second if part else mixed.first).episodes("train", torch.arange(9))
        assert torch.equal(replace(mixed, share=part).episodes("train", torch.arange(9)).query.x, alone.query.x)


def coded() -> ClassSource:
    """Example i of class c is (c, i): what it is can be read off."""
    codes = torch.tensor([[c, i] for c in range(12) for i in range(7 + c)], dtype=torch.float32)
    return arrays(codes, codes[:, 0].long(), val=0.2, test=0.3)


def test_ids_stand_for_classes_and_every_class_and_example_comes_up_equally_often() -> None:
    source = coded().sampled(Sampling(ways=4, shots=2, queries=3))
    episode = source.episodes("train", torch.arange(4000))
    known = source.splits["train"]
    code = episode.support.x.reshape(4000, 4, 2, 2)[..., 0]  # type: ignore[union-attr]
    assert (code == code[..., :1]).all()
    assert all(len(set(row.tolist())) == 4 for row in code[:, :, 0])
    query = torch.gather(code[:, :, 0], 1, episode.query.y)
    assert torch.equal(query, episode.query.x[..., 0])  # type: ignore[call-overload]
    counts = torch.bincount(code[:, :, 0].flatten().long(), minlength=12)
    assert counts[known].sum() == 16000
    assert ((counts[known] / (16000 / len(known)) - 1).abs() < 0.08).all()
    for position in range(4):  # a class must not give itself away by its id
        seen = torch.bincount(code[:, position, 0].long(), minlength=12)[known]
        assert ((seen / (4000 / len(known)) - 1).abs() < 0.2).all()


def test_pooled_training_covers_every_example_of_every_training_class() -> None:
    source = coded()
    pooled = PooledSource(source=source, batch=500)
    episode = pooled.episodes("train", torch.arange(4))
    assert pooled.spec.ways == len(source.splits["train"]) and episode.support.y.shape == (4, 0)
    assert torch.equal(source.splits["train"][episode.query.y], episode.query.x[..., 0].long())  # type: ignore[call-overload]
    seen = {tuple(row) for row in episode.query.x.reshape(-1, 2).int().tolist()}  # type: ignore[union-attr]
    assert len(seen) == int(source.pool.counts[source.splits["train"]].sum())
    check_episode(episode, pooled.spec, tasks=True)
    assert torch.equal(pooled.episodes("train", torch.tensor([3])).query.y[0], episode.query.y[3])


def test_drawing_more_than_there_is_is_an_error_not_an_accident() -> None:
    with pytest.raises(DataError, match="7-way tasks need 7 classes, but the split 'train' has 6"):
        coded().sampled(Sampling(ways=7)).episodes("train", torch.arange(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", sources)
def test_episodes_are_the_same_on_a_gpu(name: str, options: dict[str, dict[str, Any]]) -> None:
    source = sources.part(name, **options.get(name, {})).build()
    source = source.sampled(small_tasks(source))
    for split in ("train", "test"):
        here, there = (s.episodes(split, torch.arange(8)) for s in (source, source.to("cuda")))
        for one, other in zip((*here.support, *here.query), (*there.support, *there.query), strict=True):
            assert other.device.type == "cuda"
            torch.testing.assert_close(other.cpu(), one, atol=1e-4, rtol=1e-4)


class Broken(Source):
    """A source with a fault: `spoil` changes the episodes of a sound one."""

    def __init__(self, inner: Source, spoil: Callable[[Episode, str, torch.Tensor], Episode]) -> None:
        self.inner, self.spoil = inner, spoil
        self.spec, self.sampling, self.seed = inner.spec, inner.sampling, inner.seed

    def episodes(self, split: str, indices: torch.Tensor) -> Episode:
        return self.spoil(self.inner.episodes(split, indices), split, indices)

    def sampled(self, sampling: Sampling) -> Broken:
        return Broken(self.inner.sampled(sampling), self.spoil)

    def seeded(self, seed: int) -> Broken:
        return Broken(self.inner.seeded(seed), self.spoil)

    def to(self, device: torch.device | str) -> Broken:
        return self


def _noise(e: Episode, split: str, indices: torch.Tensor) -> Episode:
    return e._replace(query=e.query._replace(x=e.query.x + torch.rand(())))  # type: ignore[operator]


def _order(e: Episode, split: str, indices: torch.Tensor) -> Episode:
    shift = torch.arange(len(indices)).reshape(-1, 1, 1)
    return e._replace(query=e.query._replace(x=e.query.x + shift))  # type: ignore[operator]


def _leak(e: Episode, split: str, indices: torch.Tensor) -> Episode:
    return e._replace(query=Examples(*(t[:, [0, 1, 0, 2, 3, 2]] for t in e.support)))  # type: ignore[call-overload]


def _short(e: Episode, split: str, indices: torch.Tensor) -> Episode:
    return e._replace(support=e.support._replace(mask=e.support.mask & (torch.arange(4) > 0)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_noise, "differs alone and in a batch"),
        (_order, "depends on the batch's order"),
        (_leak, "in both support and query"),
        (_short, "expected 2 to 2 of each"),
        (lambda e, s, i: e._replace(query=e.query._replace(y=e.query.y + 5)), "ids must lie in"),
        (lambda e, s, i: linear().sampled(SMALL).episodes("train", i), "seed does not change|give the same episodes"),
        (lambda e, s, i: linear().sampled(SMALL).episodes(s, i * 0), "index does not change"),
    ],
)
def test_the_suite_catches_each_fault(spoil: Callable[..., Episode], message: str) -> None:
    sound = linear().sampled(SMALL)
    check_source(sound)
    with pytest.raises((AssertionError, DataError), match=message):
        check_source(Broken(sound, spoil))

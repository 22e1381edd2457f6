"""Several sources as one: which gives what, in which format, and what keeps one from taking part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up import write_archive
from PIL import Image

import quickstudy as qs
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import formats, sources
from quickstudy.tasks import Domains, arrays, domains
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.tree import read_tree
from quickstudy.testing import check_source


def rows(classes: int, level: float, each: int = 12, val: float = 0.2, **options: Any) -> ClassSource:
    """Rows of 3 numbers, of classes whose own lie about (level, class, 0)."""
    y = [f"c{i % classes:02d}" for i in range(classes * each)]
    x = torch.randn(len(y), 3, generator=torch.Generator().manual_seed(classes)) * 0.01
    x = x + torch.tensor([[level, i % classes, 0.0] for i in range(len(y))])
    return arrays(x, y, val=val, test=val, **options)


def three() -> Domains:
    members = {"few": rows(10, 1.0), "many": rows(30, 2.0), "new": rows(6, 3.0).only_for("test")}
    return Domains(members=members, held={"new": "test"}).sampled(Sampling(2, 2, 3))


def levels(source: qs.tasks.Domains, split: str, count: int) -> list[int]:
    return [round(v) for v in source.episodes(split, torch.arange(count)).support.x[..., 0].mean(1).tolist()]


def test_it_keeps_the_contract_of_a_source() -> None:
    check_source(three())


def test_a_held_out_domain_is_in_its_split_alone_with_all_its_classes() -> None:
    source = three()
    assert set(levels(source, "train", 200)) == {1, 2} == set(levels(source, "val", 9))
    assert levels(source, "test", 6) == [1, 2, 3, 1, 2, 3], "in turn"
    assert sum(name.startswith("new/") for name in source.classes("test")) == 6
    assert not any(name.startswith("new/") for split in ("train", "val") for name in source.classes(split))
    assert list(source.parts("test")) == ["few", "many", "new"] and list(source.parts("train")) == ["few", "many"]


@pytest.mark.parametrize(("weights", "share"), [("equal", 1 / 2), ("classes", 6 / 24)])
def test_domains_give_training_tasks_by_their_weights(weights: Any, share: float) -> None:
    source = replace(three(), weights=weights)
    found = levels(source, "train", 2000)
    assert len(source.parts("train")["few"].classes("train")) == 6
    assert found.count(1) / 2000 == pytest.approx(share, abs=0.03)


def test_an_episode_is_the_one_of_its_domain_whatever_it_is_drawn_with() -> None:
    source = three()
    batch = source.episodes("train", torch.arange(20))
    for i, level in enumerate(levels(source, "train", 20)):
        member = source.members["few" if level == 1 else "many"]
        assert torch.equal(batch.query.x[i], member.episodes("train", torch.tensor([i])).query.x[0])
        name = source.class_names("train", i)[0]
        assert name.split("/") == ["few" if level == 1 else "many", member.class_names("train", i)[0]]


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_domains_are_what_training_may_take_more_of(split: str) -> None:
    source = three()
    names = source.arms(split)
    arms = source.arms_of(split, torch.arange(30))
    assert names == list(source.parts(split)) and arms.shape == (30, 1)
    for i in range(30):
        assert source.class_names(split, i)[0].startswith(names[int(arms[i, 0])] + "/")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"members": {"few": rows(10, 1.0)}}, "at least two"),
        ({"held": {"nwe": "test"}}, "new"),
        ({"held": {"new": "train"}}, "'val' or 'test'"),
        ({"held": {"few": "test", "many": "test", "new": "test"}}, "none is left"),
        ({"weights": "clases"}, "weights"),
        ({"members": {"few": rows(10, 1.0), "new": sources["sinusoid"]()}}, "look alike, but those of 'new'"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(three(), **change)


def test_a_domain_that_has_too_few_classes_is_named() -> None:
    with pytest.raises(DataError, match=r"The domain 'few': 5-way .* 'val' has 2"):
        three().sampled(Sampling(5, 2, 3)).check("val")


def test_ways_are_at_most_the_classes_that_a_domain_has() -> None:
    source = three().sampled(Sampling(20, 2, 3, min_ways=2))
    test = source.episodes("test", torch.arange(300))
    ways = [[len(set(test.query.y[i][test.query.mask[i]].tolist())) for i in range(d, 300, 3)] for d in range(3)]
    assert [(min(w), max(w)) for w in ways] == [(2, 2), (2, 6), (2, 6)]
    distinct = [len({tuple(x) for x in test.query.x[i][test.query.mask[i]].tolist()}) for i in range(300)]
    assert distinct == test.query.mask.sum(1).tolist(), "no class, and no example, twice"


def test_shots_are_unequal_and_a_class_of_few_examples_keeps_its_queries() -> None:
    x = torch.arange(52.0)[:, None]
    y = ["small"] * 4 + ["large"] * 48
    source = arrays(x, y, val=0.0, test=0.0).sampled(Sampling(2, 30, 3, support=20))
    episode = source.episodes("train", torch.arange(400))
    support, query = episode
    assert bool(query.mask.all()) and int(support.mask.sum(1).max()) <= 20
    for i in range(50):
        seen, asked = support.x[i][support.mask[i]].flatten(), query.x[i].flatten()
        assert len(seen.unique()) == len(seen) and not set(seen.tolist()) & set(asked.tolist())
        small = (seen < 4).sum()
        assert 1 <= int(small) <= 1 and int((asked < 4).sum()) == 3
    large = support.mask.sum(1) - 1
    assert int(large.min()) == 1 and int(large.max()) == 18 and len(large.unique()) > 10


def test_unequal_shots_follow_the_formula() -> None:
    from quickstudy import rng
    from quickstudy.tasks.unequal import unequal

    keys = rng.fold(rng.key(3, "unequal"), torch.arange(50))
    held = torch.tensor([[5, 50, 20]]).expand(50, -1)
    present = torch.tensor([[True, True, False]]).expand(50, -1)
    given = unequal(keys, present, held, 30)
    share = (1 - rng.uniform(rng.fold(keys, 0))).numpy()
    alpha = rng.uniform(rng.fold(keys, 1), (3,), float(np.log(0.5)), float(np.log(2))).numpy()
    for i in range(50):
        total = min(30, sum(int(np.ceil(share[i] * np.float32(n))) for n in (5, 50)))
        parts = [float(np.exp(alpha[i, c])) * n for c, n in enumerate((5, 50))]
        wanted = [min(int(p / sum(parts) * max(total - 2, 0)) + 1, n) for p, n in zip(parts, (5, 50), strict=True)]
        assert given[i, :2].tolist() == wanted


def picture(path: Path, level: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((9, 12, 3), level, dtype=np.uint8)).convert(mode).save(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two folders of images, an archive of characters, and a file that names them."""
    for name, classes in (("tiles", 8), ("signs", 3)):
        for c in range(classes):
            for i in range(4):
                picture(tmp_path / name / f"class{c}" / f"track{i // 2}_{i}.png", 20 * c + i, "L" if c % 2 else "RGB")
    alphabets = tmp_path / "omniglot"
    alphabets.mkdir()
    for archive, names in (("images_background", ("Early_Aramaic", "Greek")), ("images_evaluation", ("Atlantean",))):
        write_archive(alphabets / f"{archive}.zip", names)
    (tmp_path / "all.toml").write_text(
        '[tiles]\nroot = "tiles"\nmin_class = 2\n\n[letters]\ntasks = "omniglot"\nroot = "omniglot"\nsplit = "lake"\n'
        'validation = ["Early_Aramaic"]\nwithin = true\n\n[signs]\nroot = "signs"\ngroup = "(track[0-9]+)_"\n'
        'held = "test"\n'
    )
    return tmp_path


def test_a_file_names_domains_that_come_in_one_format(place: Path) -> None:
    source = domains(domains=(str(place / "all.toml"),), options=("size", "16", "channels", "3"))
    source = source.sampled(Sampling(2, 2, 2))
    assert source.spec.format == formats.make("image", size=16, channels=3)
    assert source.held == {"signs": "test"} and len(source.members["signs"].classes("test")) == 3
    for split in ("train", "val", "test"):
        source.check(split)
        episode = source.episodes(split, torch.arange(6))
        assert episode.support.x.shape[2:] == (3, 16, 16)
    letters = source.members["letters"].episodes("train", torch.arange(1)).support.x
    assert float(letters.mean()) > 0.5, "dark ink on white, as others are"
    signs = source.members["signs"]
    assert isinstance(signs, ClassSource) and signs.records is not None


def test_a_run_stores_what_the_file_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    part = sources.part("domains", domains=("all.toml",), held_out=(), options=("size", "16")).settled()
    (place / "all.toml").unlink()
    monkeypatch.chdir("/")
    again = part.build().sampled(Sampling(2, 2, 2))
    assert list(again.members) == ["tiles", "letters", "signs"] and again.held == {"signs": "test"}
    assert part.settled() == part
    again.check("test")


def test_words_of_a_command_name_folders(place: Path) -> None:
    words = (f"tiles={place / 'tiles'}", f"signs={place / 'signs'}")
    source = domains(domains=words, held_out=("signs",), options=("size", "8"))
    assert source.held == {"signs": "test"} and list(source.parts("train")) == ["tiles"]
    with pytest.raises(ConfigError, match="both 'val' and 'test'"):
        domains(domains=words, held_out=("signs",), validation=("signs",))
    with pytest.raises(ConfigError, match="'tiles' twice|Two domains are called 'tiles'"):
        domains(domains=(words[0], words[0]))
    with pytest.raises(ConfigError, match="NAME=FOLDER"):
        domains(domains=("tiles",))
    with pytest.raises(DataError, match="no file"):
        domains(domains=("none.toml",))
    with pytest.raises(ConfigError, match="signs"):
        domains(domains=words, held_out=("sings",))


def test_records_that_are_trained_on_and_held_out_are_named(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = ("size", "8")
    domains(domains=(f"one={place / 'tiles'}", f"two={place / 'tiles'}"), options=options)
    assert "which is held out for" not in caplog.text
    caplog.clear()
    domains(domains=(f"one={place / 'tiles'}", f"two={place / 'tiles'}"), held_out=("two",), options=options)
    assert "32 of 32 records of the domain 'two', which is held out for 'test', are in 'one', too" in caplog.text


def test_a_domain_of_one_class_is_refused_by_name(place: Path) -> None:
    picture(place / "lone" / "only" / "1.png", 3)
    words = (f"tiles={place / 'tiles'}", f"lone={place / 'lone'}")
    with pytest.raises(DataError, match=r"The domain 'lone': .*one class only, 'only'"):
        domains(domains=words)


def test_mistakes_in_a_file_are_said(place: Path) -> None:
    path = place / "wrong.toml"
    for text, match in (
        ("root = 'a'", "outside of any domain"),
        ("[a\n", "TOML"),
        ("[a]\nrot = 'x'\n[b]\nroot='y'", "The domain 'a': .*'rot'"),
        ("[a]\ntasks = 'foldr'", "foldr"),
    ):
        path.write_text(text)
        with pytest.raises((ConfigError, DataError), match=match):
            domains(domains=(str(path),))


def test_pixels_of_one_format_become_those_of_another() -> None:
    wide, narrow = formats.make("image", size=4, channels=3), formats.make("image", size=2, channels=1, invert=True)
    grey = torch.tensor([[[[0, 0, 255, 255]] * 4]], dtype=torch.uint8).reshape(1, 1, 4, 4)
    same = formats.make("image", size=4, channels=1)
    assert torch.equal(wide.brought(grey, same), grey.expand(-1, 3, -1, -1))
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1.0
    assert narrow.brought(red, wide).flatten().tolist() == pytest.approx([1 - 0.299] * 4)
    flat = torch.full((1, 3, 4, 4), 77, dtype=torch.uint8)
    assert narrow.brought(flat, wide).unique().tolist() == [178]
    with pytest.raises(ConfigError, match="cannot be made"):
        wide.brought(flat, formats.make("array", shape=(3, 4, 4)))


def test_tasks_lie_below_one_node_of_a_tree(tmp_path: Path) -> None:
    path = tmp_path / "tree.json"
    path.write_text(json.dumps({"a": {"b": ["c00", "c01"], "c": ["c02", "c03", "c04"]}, "d": ["c05", "c06", "c07"]}))
    source = rows(8, 0.0, val=0.0)
    source = replace(source, tree=read_tree(path, source.pool.names)).sampled(Sampling(3, 1, 2))
    source.check("train")
    found = [frozenset(source.class_names("train", i)) for i in range(400)]
    below = [{f"c{i:02d}" for i in ids} for ids in (range(8), range(5), (2, 3, 4), (5, 6, 7))]
    assert all(any(one <= node for node in below) for one in found)
    alone = sum(one == below[3] for one in found) / 400
    assert alone == pytest.approx(1 / 4 + 1 / 4 / 56, abs=0.06), "nodes are drawn alike"
    few = source.sampled(Sampling(6, 1, 2, min_ways=2)).episodes("train", torch.arange(300))
    ways = few.query.mask.view(300, 6, 2).any(-1).sum(1)
    assert int(ways.min()) == 2 and int(ways.max()) == 6
    with pytest.raises(DataError, match="node of the tree"):
        source.sampled(Sampling(9, 1, 2)).check("train")
    for text, match in (('{"a": ["c00"]}', "lacks 7"), ('{"a": ["c99"]}', "c99"), ('{"a": 3}', "holds 3")):
        path.write_text(text)
        with pytest.raises(DataError, match=match):
            read_tree(path, source.pool.names)
    with pytest.raises(DataError, match=r"no file .*none\.json with a tree"):
        read_tree(tmp_path / "none.json", source.pool.names)

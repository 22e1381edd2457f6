"""Tasks from unsorted files: each a class of its own, or clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import drawing

from quickstudy import rng
from quickstudy.cli import main
from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import sources
from quickstudy.runs.run import Run
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.partitions import k_means, main_directions, nearest, partitions
from quickstudy.testing.sources import check_source

OPTIONS = ("size", "16", "channels", "1", "invert", "true")
DISTORT = ("rotate", "15", "translate", "0.1")


def fill(root: Path, count: int = 40, classes: int = 0) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        deep = root / ("a" if i % 2 else "b/c")
        deep.mkdir(parents=True, exist_ok=True)
        drawing(1, i).save(deep / f"{i}.png")
    for split in ("val", "test"):
        for c in range(classes):
            own = root / split / f"{split} {c}"
            own.mkdir(parents=True)
            for i in range(6):
                drawing(2, c, i, len(split)).save(own / f"{i}.png")
    return root


def made(root: Path, **options: Any) -> Any:
    return sources.make("unlabelled", root=str(root), options=OPTIONS, **({"distort": DISTORT} | options))


def test_each_record_is_a_class_of_distorted_copies(tmp_path: Path) -> None:
    source = made(fill(tmp_path, classes=5)).sampled(Sampling(5, 1, 3))
    check_source(source)
    assert source.repeats
    assert len(source.classes("train")) == 40 and source.classes("val") == [f"val {c}" for c in range(5)]
    plain = source.plain().episodes("train", torch.arange(4))
    shown = plain.support.x.repeat_interleave(3, 1)
    assert torch.equal(shown, plain.query.x)  # without distortions all copies of a record are the record
    moved = source.episodes("train", torch.arange(4))
    assert not torch.equal(moved.support.x.repeat_interleave(3, 1), moved.query.x)
    told = source.class_names("train", 0)
    assert len(set(told)) == 5 and all(name.endswith(".png") for name in told)


def test_without_labelled_classes_some_records_are_held_out(tmp_path: Path) -> None:
    source = made(fill(tmp_path), val=0.25).sampled(Sampling(5, 1, 2))
    train, held = (set(source.classes(split)) for split in ("train", "val"))
    assert (len(train), len(held)) == (30, 10) and not train & held
    episode = source.episodes("val", torch.arange(2))
    assert not torch.equal(episode.support.x.repeat_interleave(2, 1), episode.query.x)
    with pytest.raises(DataError, match="The split 'test' has no classes"):
        source.episodes("test", torch.arange(1))


def test_a_labelled_class_of_one_record_gives_it_once(tmp_path: Path) -> None:
    root = fill(tmp_path, classes=5)
    for path in sorted((root / "val" / "val 0").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match="'val 0' of the split 'val' has 1 examples"):
        made(root).sampled(Sampling(5, 1, 1)).episodes("val", torch.arange(1))


def test_clusters_are_classes_and_those_of_a_task_are_of_one_partition(tmp_path: Path) -> None:
    source = made(fill(tmp_path, 60, classes=4), method="cactus", clusters=6, partitions=3, min_class=3, distort=())
    source = source.sampled(Sampling(3, 1, 2))
    check_source(source)
    assert not source.repeats
    for index in range(8):
        names = source.class_names("train", index)
        assert len({name.split(",")[0] for name in names}) == 1
    pool = source.pool
    for number in source.splits["train"][:3].tolist():  # the first cluster's records: all nearer to its centre
        assert int(pool.own[number]) == int(pool.counts[number]) >= 3


def test_equal_records_are_one_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = fill(tmp_path)
    drawing(1, 0).save(root / "again.png")
    assert len(made(root, val=0.0).classes("train")) == 40
    assert "1 of 41 images left out" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"distort": ()}, "nothing distorts them.*rotate"),
        ({"distort": ("spin", "3")}, "no distortion 'spin', only rotate"),
        ({"method": "cactus", "clusters": 20, "min_class": 30}, "No cluster has 30 records"),
        ({"val": 1.0}, r"must lie in \[0, 1\)"),
        ({"format": "series", "options": ()}, "their own labels"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    root = fill(tmp_path, 30)
    with pytest.raises((ConfigError, DataError), match=said):
        sources.make("unlabelled", **({"root": str(root), "options": OPTIONS, "distort": DISTORT} | options))


def test_k_means_finds_groups_that_lie_apart() -> None:
    truth = torch.arange(4).repeat_interleave(25)
    z = 10.0 * torch.eye(4)[truth] + rng.normal(rng.key(0, "z"), (100, 4))
    ids, centres = k_means(z, 4, rng.key(0))
    pairs = ids * 4 + truth
    assert len(pairs.unique()) == 4 == len(ids.unique())
    means = torch.stack([z[ids == c].mean(0) for c in range(4)])
    torch.testing.assert_close(centres, means)  # a fixed point of Lloyd's algorithm
    assert torch.equal(nearest(z, centres)[0], ids)


def test_k_means_lowers_what_it_minimises_and_fills_every_cluster() -> None:
    z = rng.normal(rng.key(1, "z"), (200, 3))
    spread = [float(nearest(z, k_means(z, 12, rng.key(5), rounds)[1])[1].sum()) for rounds in (1, 3, 30)]
    assert spread == sorted(spread, reverse=True) and spread[-1] < spread[0]
    few = torch.tensor([[0.0], [1.0], [5.0]])
    assert sorted(k_means(few, 10, rng.key(0))[0].tolist()) == [0, 1, 2]


def test_main_directions_keep_distances_but_for_what_is_dropped() -> None:
    z = rng.normal(rng.key(2, "z"), (50, 6)) * torch.tensor([9.0, 7.0, 5.0, 1e-4, 1e-4, 1e-4])
    z = z.double()
    kept = main_directions(z, 3)
    torch.testing.assert_close(torch.cdist(kept, kept), torch.cdist(z, z), atol=1e-5, rtol=0)


def test_partitions_differ_and_repeat() -> None:
    z = rng.normal(rng.key(3, "z"), (80, 5))
    one, again = partitions(z, 6, 2, 7), partitions(z, 6, 2, 7)
    assert torch.equal(one, again)
    together = [(ids[:, None] == ids[None]) for ids in one]
    assert not torch.equal(*together)


def test_texts_of_a_file_are_classes_whose_tokens_are_hidden(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    lines = [f"the {i}th sentence of {i * i} words about {'abcdef'[i % 6] * 5}" for i in range(40)]
    (tmp_path / "t.csv").write_text("text\n" + "\n".join([*lines, lines[0]]) + "\n")
    source = sources.make(
        "unlabelled", root=str(tmp_path / "t.csv"), format="text", options=("vocabulary", "300", "length", "40"),
        distort=("drop", "0.3"), val=0.0,
    )  # fmt: skip
    assert len(source.classes("train")) == 40  # of 41 texts, two are equal
    episode = source.sampled(Sampling(5, 1, 2)).episodes("train", torch.arange(3))
    ids, seen = episode.support.x["input_ids"], episode.support.x["attention_mask"]
    assert torch.equal(ids.repeat_interleave(2, 1), episode.query.x["input_ids"])
    assert not torch.equal(seen.repeat_interleave(2, 1), episode.query.x["attention_mask"])


def test_from_a_folder_of_files_to_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = fill(tmp_path / "unsorted", classes=5)
    words = ["--tasks.root", str(root), "--tasks.options", *OPTIONS, "--model.width", "8", "--iterations", "2"]
    words += ["--train-ways", "8", "--queries", "2", "--validation-episodes", "2", "--out", str(tmp_path / "run")]
    assert main(["train", "unlabelled", *words]) == 0
    assert main(["adapt", str(tmp_path / "run"), "--support", str(root / "test"), "--out", str(tmp_path / "m")]) == 0
    run = Run(tmp_path / "run")
    assert run.kept["held_out"] and run.evaluate(queries=2, episodes=4).episodes == 4
    assert run.config.tasks.options["root"] == str(root)
    capsys.readouterr()


def test_from_files_alone_to_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = fill(tmp_path / "unsorted")
    words = ["--tasks.root", str(root), "--tasks.options", *OPTIONS, "--model.width", "8", "--iterations", "2"]
    words += ["--train-ways", "8", "--queries", "2", "--validation-episodes", "2", "--out", str(tmp_path / "run")]
    assert main(["train", "unlabelled", *words, "--ways", "3"]) == 0
    assert "no class is held out for testing" in capsys.readouterr().out


def test_the_recipe_takes_other_records_as_the_documentation_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "t.csv").write_text("text\n" + "\n".join(f"sentence {i} about {i * i}" for i in range(30)) + "\n")
    words = ["--tasks.root", str(tmp_path / "t.csv"), "--tasks.format", "text", "--tasks.distort", "drop", "0.3"]
    words += ["--model", "ngrams", "--iterations", "2", "--train-ways", "8", "--ways", "3", "--queries", "2"]
    words += ["--validation-episodes", "2", "--no-report", "--out", str(tmp_path / "run")]
    assert main(["train", "unlabelled", *words]) == 0
    capsys.readouterr()

"""Data sets of the hub by name: fetched once from a server that answers as the hub does, then read as files are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import hub_of

import quickstudy as qs
from quickstudy import hub
from quickstudy.errors import ConfigError
from quickstudy.registry import sources

CLASSES = ("card", "greet", "rate", "top up", "pin", "fee", "refund")


def rows(count: int) -> bytes:
    lines = [f"{label} is what i ask about {i},{label}" for label in CLASSES for i in range(count)]
    return "\n".join(["text,label", *lines, ""]).encode()


FILES = {
    "README.md": b"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train.csv\n"
    b"  - split: test\n    path: test.csv\n- config_name: few\n  data_files: test.csv\n---\n",
    "train.csv": rows(12),
    "test.csv": rows(5),
}
TRAIN = (
    "train text --tasks.path {place} --tasks.vocabulary 300 --model ngrams --iterations 2 --validation-episodes 2 "
    "--ways 2 --train-ways 2 --shots 1 --queries 2 --device cpu --compile off --name {name} --out {name}"
)


def quickstudy(command: str, folder: Path, address: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "HF_ENDPOINT": address, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1", "HF_HUB_ETAG_TIMEOUT": "3",
    }  # fmt: skip
    line = [sys.executable, "-m", "quickstudy", *command.split()]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_trained_on_by_name_fetched_once_and_read_without_a_network(tmp_path: Path, own_cache: Path) -> None:
    pytest.importorskip("datasets")
    with hub_of("me/cards", FILES) as (address, asked):
        done = quickstudy(TRAIN.format(place="hf://me/cards/train", name="a"), tmp_path, address)
        assert done.returncode == 0, done.stderr
        assert "HEAD /datasets/me/cards/resolve/main/README.md" in "".join(asked)
        both = quickstudy(TRAIN.format(place="hf://me/cards", name="b"), tmp_path, address)
        assert "is in both 'train' and 'test'" in both.stderr and both.returncode
        few = quickstudy(TRAIN.format(place="hf://datasets/me/cards@main:few", name="c"), tmp_path, address)
        assert few.returncode == 0, few.stderr
        none = quickstudy(TRAIN.format(place="hf://me/none", name="d"), tmp_path, address)
        assert none.returncode and "me/none could not be had from the hub" in none.stderr
        config = quickstudy(TRAIN.format(place="hf://me/cards:many", name="e"), tmp_path, address)
        assert config.returncode and "'many' not found. Available: ['default', 'few']" in config.stderr
    assert sorted(path.name for path in (own_cache / "quickstudy" / "hub").iterdir()) == [
        "me--cards", "me--cards--@main--few",
    ]  # fmt: skip
    away = quickstudy("evaluate a --episodes 4", tmp_path, address)
    assert away.returncode == 0, away.stderr
    assert '"hf://me/cards/train"' in (tmp_path / "a" / "config.json").read_text()
    adapted = quickstudy("adapt a --support hf://me/cards/test --out m", tmp_path, address)
    assert adapted.returncode == 0 and "7 classes from 35 texts" in adapted.stdout, adapted.stderr
    asked_about = quickstudy("predict m hf://me/cards/test --out p.csv", tmp_path, address)
    assert "Wrote 35 predictions" in asked_about.stdout, asked_about.stderr
    model = qs.Run(tmp_path / "a").adapt("hf://me/cards/test", label="label")
    assert sorted(model.names) == sorted(CLASSES)
    gone = quickstudy(TRAIN.format(place="hf://me/others", name="f"), tmp_path, address)
    assert gone.returncode and "me/others could not be had from the hub" in gone.stderr
    assert "Traceback" not in "".join(one.stderr for one in (both, none, config, gone))


def test_names_that_are_none_and_splits_that_are_not_there(own_cache: Path) -> None:
    for place in ("hf://cards", "hf://me/cards/train/1", "hf://me/../cards", "hf://me/cards:", "hf://"):
        with pytest.raises(ConfigError, match="names no data set of the hub"):
            hub.local(place)
    (own_cache / "quickstudy" / "hub" / "you--cards" / "train").mkdir(parents=True)
    with pytest.raises(ConfigError, match="has no split 'tset', only train"):
        hub.local("hf://you/cards/tset")
    assert hub.local(Path("hf://you/cards/train")) == hub.local("hf://datasets/you/cards/train")
    assert hub.local("cards.csv") == "cards.csv"


def test_the_name_stays_in_what_is_stored(own_cache: Path, tmp_path: Path) -> None:
    """A run that is carried to another machine finds its data by name there."""
    (folder := own_cache / "quickstudy" / "hub" / "you--texts").mkdir(parents=True)
    for label in CLASSES:
        (folder / label).mkdir()
        for i in range(6):
            (folder / label / f"{i}.txt").write_text(f"{label} number {i}")
    part = sources.part("text", path="hf://you/texts", vocabulary=300).settled()
    assert part.options["path"] == "hf://you/texts"
    assert len(part.build().spec.format.tokenizer) > 100

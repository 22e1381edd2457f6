"""A memory of tasks and averages of runs, from the shell."""

from __future__ import annotations

import contextlib
import csv
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from new_user import Capture, accepted, refused, write_photos

import quickstudy as qs
from quickstudy.memory import Bank

BUILD = "--shots 2 --start memory"


def proposed(text: str, folder: Path, capsys: Capture) -> list[list[str]]:
    """The rows that the command of the line "Next:" writes, when it is typed as it stands in `folder`."""
    line = re.search(r"^Next.*: quickstudy (predict .*)$", text, re.MULTILINE)
    assert line is not None
    with contextlib.chdir(folder):
        accepted(line[1], capsys)
        return list(csv.reader(Path("predictions.csv").open()))


def small(parts: dict[str, Any], ways: int) -> qs.RunConfig:
    """MAML for two steps."""
    return qs.RunConfig(
        name="small",
        **parts,
        learner=qs.registry.learners.part("maml", lr=0.1, steps=2),
        ways=ways,
        queries=4,
        iterations=2,
        validation_episodes=4,
        device="cpu",
        compile="off",
        vectorize="loop",
    )


@pytest.fixture(scope="module")
def gradient_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of MAML on made-up characters."""
    parts = {
        "tasks": qs.registry.sources.part("glyphs", size=20),
        "model": qs.registry.models.part("conv4", width=8, pool=False, norm_layer="group"),
    }
    return qs.train(small(parts, 3), out=tmp_path_factory.mktemp("memory") / "small", quiet=True).folder


@pytest.fixture
def bank(gradient_run: Path, tmp_path: Path, capsys: Capture) -> Path:
    text = accepted(f"memory build {tmp_path / 'bank'} --run {gradient_run} --count 6 {BUILD}", capsys)
    assert "Remembered 6 tasks" in text and "memory show" in text
    return tmp_path / "bank"


def test_building_goes_on_and_lists(bank: Path, gradient_run: Path, capsys: Capture) -> None:
    text = accepted(f"memory build {bank} --run {gradient_run} --count 3 --first 6 {BUILD} --codec int8", capsys)
    assert "now holds 9" in text
    assert len(Bank(bank).phi.ids()) == 1
    listed = accepted(f"memory list {bank} --last 4", capsys)
    assert "9 tasks" in listed and listed.count("stored accuracy") == 4
    assert "0 damaged" in accepted(f"memory check {bank}", capsys)


def test_new_classes_are_learned_from_memory_and_remembered(bank: Path, tmp_path: Path, capsys: Capture) -> None:
    photos = write_photos(tmp_path / "new", range(4), 3)  # four classes, though the run has tasks of three
    assert "closeness" in accepted(f"memory search {bank} --support {photos} --nearest 2", capsys)
    text = accepted(f"memory adapt {bank} --support {photos} --out {tmp_path / 'model'} --remember", capsys)
    assert "Learned 4 classes from 12 images; started from" in text and "Remembered as 'new'" in text
    entry = Bank(bank).entries()[-1]
    assert entry.name == "new" and entry.statistics["classes"] == 4 and entry.support_uri == str(photos.resolve())
    shutil.copytree(photos, tmp_path / "unsorted")
    rows = proposed(text, tmp_path, capsys)
    assert len(rows) == 1 + 12 and len(rows[0]) >= 6
    assert not any(name.startswith("memory.") for name in qs.load(tmp_path / "model").params if "task." in name)


def test_series_are_learned_from_memory(tmp_path: Path, capsys: Capture) -> None:
    parts = {"tasks": qs.registry.sources.part("series", window=4), "model": qs.registry.models.part("lstm", width=4)}
    run = qs.train(small(parts, 1), out=tmp_path / "run", quiet=True).folder
    accepted(f"memory build {tmp_path / 'bank'} --run {run} --count 2", capsys)
    lines = [f"{name},{value}" for name in ("north", "south") for value in (1, 3, 2, 4, 3, 5)]
    (tmp_path / "new.csv").write_text("\n".join(["series,value", *lines]))
    ask = f"memory adapt {tmp_path / 'bank'} --support {tmp_path / 'new.csv'} --out {tmp_path / 'model'} --remember"
    assert "holds 2 tasks (north, south)" in refused(ask, capsys)
    text = accepted(f"{ask} --task south", capsys)
    assert "how they go on; " in text and "Remembered as 'south'" in text
    assert [row[0] for row in proposed(text, tmp_path, capsys)] == ["point", "south +1"]
    assert "south" in accepted(f"memory search {ask.split()[2]} --support {tmp_path / 'new.csv'} --task south", capsys)


def test_rows_are_learned_from_memory_with_a_network_of_the_users_own(tmp_path: Path, capsys: Capture) -> None:
    cells = [f"{task},{row % 5},{row % 3},{task * row}" for task in range(9) for row in range(20)]
    (tmp_path / "all.csv").write_text("\n".join(["task,a,b,label", *cells]))
    (tmp_path / "new.csv").write_text("\n".join(["a,b,label,task", *(f"{i},{i % 2},{3 * i},new" for i in range(7))]))
    mine = tmp_path / "memory_network.py"
    mine.write_text(
        "from torch import nn\ndef module():\n    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))\n"
    )
    source = qs.registry.sources.part("table_csv", path=str(tmp_path / "all.csv"), target="numbers", group="task")
    module = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    run = qs.train(small({"tasks": source}, 1), module=module, out=tmp_path / "run", quiet=True).folder
    bank, place = tmp_path / "bank", tmp_path / "new.csv"
    accepted(f"memory build {bank} --run {run} --count 2 --import {mine}", capsys)
    assert "--import FILE.py" in refused(f"memory search {bank} --support {place}", capsys)
    text = accepted(f"memory adapt {bank} --support {place} --out {tmp_path / 'model'} --import {mine}", capsys)
    assert "Learned from 7 rows to tell a number" in text
    shutil.copy(place, tmp_path / "unseen.csv")
    assert [row[0] for row in proposed(text, tmp_path, capsys)] == [
        "row",
        *(f"line {i + 2}" for i in range(7)),
    ]


def test_showing_exporting_and_pruning(bank: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "Wrote" in accepted(f"memory show {bank} --out {tmp_path / 'map.html'}", capsys)
    assert "Map of the tasks" in (tmp_path / "map.html").read_text()
    accepted(f"memory export {bank} --out {tmp_path / 'plain'}", capsys)
    assert len(list((tmp_path / "plain").glob("*.safetensors"))) == 1 + 6  # φ and the tasks
    assert "holds 4 tasks" in accepted(f"memory prune {bank} --count 4", capsys)
    assert "Say what to prune to" in refused(f"memory prune {bank}", capsys)


def test_mistakes_are_answered(bank: Path, gradient_run: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "There is no bank at" in refused(f"memory list {tmp_path / 'nowhere'}", capsys)
    assert "There is no run called 'nothing'" in refused(f"memory build {tmp_path / 'x'} --run nothing", capsys)
    Bank(bank).remove([entry.id for entry in Bank(bank).entries()])
    photos = write_photos(tmp_path / "new", range(2), 2)
    assert "is empty. Fill it" in refused(f"memory search {bank} --support {photos}", capsys)
    text = accepted(f"memory adapt {bank} --support {photos} --out {tmp_path / 'model'}", capsys)
    assert "started from φ: nothing near was found" in text


def test_runs_are_averaged_into_a_run(gradient_run: Path, tmp_path: Path, capsys: Capture) -> None:
    twin = shutil.copytree(gradient_run, tmp_path / "twin")
    text = accepted(f"average {gradient_run} {twin} --out {tmp_path / 'soup'}", capsys)
    assert "barrier 0.0000" in text and "taken" in text
    one, other = qs.Run(gradient_run), qs.Run(tmp_path / "soup")
    assert one.evaluate(episodes=4).values == pytest.approx(other.evaluate(episodes=4).values)
    assert other.kept["averaged"] == [str(gradient_run), str(twin)]
    assert "no metrics of a training to report on" in refused(f"report {tmp_path / 'soup'}", capsys)
    assert "Leave the weights out" in refused(f"average {gradient_run} --out {tmp_path / 'other'} --weights 1", capsys)
    assert "exists and is not empty" in refused(f"average {gradient_run} --out {gradient_run}", capsys)


def test_a_recipe_is_trained_on_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    photos = write_photos(tmp_path / "photos", range(12), 6)
    recipe = tmp_path / "mine.py"
    recipe.write_text(
        "import quickstudy as qs\n"
        "def recipe():\n"
        "    parts = {'tasks': qs.registry.sources.part('folder', root=" + repr(str(photos)) + ", size=20),\n"
        "             'model': qs.registry.models.part('conv4', width=8, pool=False, norm_layer='none'),\n"
        "             'learner': qs.registry.learners.part('protonet')}\n"
        "    return qs.RunConfig(name='apart', ways=2, queries=2, meta_batch=2, validation_episodes=4, **parts)\n"
    )
    line = f"--rounds 2 --steps 2 --divide classes --parts 3 --backend loop --out {tmp_path / 'apart'}"
    text = accepted(f"partition {recipe} {line}", capsys)
    assert "Validation" in text
    assert qs.Run(tmp_path / "apart").evaluate(episodes=4).episodes == 4
    assert "Make fewer parts" in refused(
        f"partition {recipe} {line.replace('--parts 3', '--parts 5').replace('apart', 'more')}", capsys
    )

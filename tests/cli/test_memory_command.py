"""A memory of tasks and averages of runs, from the shell."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from new_user import Capture, accepted, refused, write_photos

import quickstudy as qs
from quickstudy.memory import Bank

BUILD = "--shots 2 --start memory"


@pytest.fixture(scope="module")
def gradient_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of MAML on made-up characters."""
    config = qs.RunConfig(
        name="small",
        tasks=qs.registry.sources.part("glyphs", size=20),
        model=qs.registry.models.part("conv4", width=8, pool=False, norm_layer="group"),
        learner=qs.registry.learners.part("maml", lr=0.1, steps=2),
        ways=3,
        queries=4,
        iterations=2,
        validation_episodes=4,
        device="cpu",
        compile="off",
        vectorize="loop",
    )
    return qs.train(config, out=tmp_path_factory.mktemp("memory") / "small", quiet=True).folder


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
    assert "Learned 4 classes; started from" in text and "Remembered as 'new'" in text
    entry = Bank(bank).entries()[-1]
    assert entry.name == "new" and entry.statistics["classes"] == 4 and entry.support_uri == str(photos.resolve())
    files = " ".join(str(path) for path in sorted(photos.rglob("*.png"))[:2])
    accepted(f"predict {tmp_path / 'model'} {files} --out {tmp_path / 'answers.csv'}", capsys)
    rows = list(csv.reader((tmp_path / "answers.csv").open()))
    assert len(rows) == 3 and len(rows[0]) >= 6
    assert not any(name.startswith("memory.") for name in qs.load(tmp_path / "model").params if "task." in name)


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
    assert "no training to report on" in refused(f"report {tmp_path / 'soup'}", capsys)
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

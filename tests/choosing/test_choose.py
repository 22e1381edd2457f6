"""Whole searches: from tasks to a trained run, stopped, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from choosing_runs import blob_run, numbers_run

from quickstudy import choosing
from quickstudy.choosing import search as module
from quickstudy.choosing import trial as trials
from quickstudy.choosing.experience import nearest, remembered, told_in
from quickstudy.choosing.page import report
from quickstudy.choosing.record import LINES, Record
from quickstudy.cli import main
from quickstudy.errors import ConfigError, DataError, RunError, TrainingError
from quickstudy.select.warm import Experience
from quickstudy.space import Choice, Range, Space
from quickstudy.tasks import arrays
from quickstudy.training.loop import Interrupted, Training

pytest.importorskip("scipy")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "PROBE", 0.1)
    monkeypatch.setattr(module, "SHORTEST", 0.2)
    monkeypatch.setattr(module, "TASKS", (12, 24, 48))
    monkeypatch.setattr(module, "TESTED", 20)


def search(folder: Path, minutes: float = 0.2, **options: object) -> choosing.Chosen:
    config, source = blob_run()
    return choosing.choose(config, source=source, minutes=minutes, out=folder, quiet=True, **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("quick")
def test_a_search_ends_with_a_trained_run_and_a_ranking(tmp_path: Path) -> None:
    found = search(tmp_path / "search", bank=tmp_path / "bank")
    assert found.ranking[0].mean >= max(t.mean for t in found.record.at(0)) - 0.1
    assert {} in [t.point for t in found.ranking], "the recipe is a trial"
    assert len({t.trial for t in found.ranking}) >= 3
    assert found.test is not None
    assert found.test.mean > 0.5, "a third is guessing"
    assert found.run.evaluate(episodes=20).mean == pytest.approx(found.test.mean)
    assert "pay" in found.advice
    kept = [Experience.load(path) for path in (tmp_path / "bank").iterdir()]
    assert len(kept) == 1
    assert len(kept[0].tasks[0].points) == len([t for t in found.record.trials if t.rung == 0 and t.point])
    assert choosing.resume(found.folder, source=blob_run()[1]).best == found.best
    page = report(found).read_text()
    assert "What was tried" in page
    assert "the recipe" in page


@pytest.mark.usefixtures("quick")
def test_experience_goes_first(tmp_path: Path) -> None:
    """A past task whose best point is far ahead: the search tries it right after the recipe."""
    config, source = blob_run()
    space = choosing.menu(config, source).space
    good = {"learner": "r2d2", "network": "mlp, 128", "lr": 0.004, "ways": 1}
    poor = [{**good, "learner": "maml", "lr": lr} for lr in (0.001, 0.002, 0.003)]
    Experience.append(tmp_path / "past.jsonl", space, "yesterday", [good, *poor], [-0.9, -0.4, -0.3, -0.2])
    (tmp_path / "bank").mkdir()
    (tmp_path / "past.jsonl").rename(tmp_path / "bank" / "past.jsonl")
    found = search(tmp_path / "search", bank=tmp_path / "bank")
    assert found.record.trials[0].point == {}
    first = next(t for t in found.record.trials if t.rung == 0 and t.point)
    shipped = remembered(space, {"ways": 1.0}, None)
    assert not shipped.useful or first.point in [p for t in shipped.tasks for p in t.points] or first.point == good
    assert good in [t.point for t in found.record.trials][:6]


@pytest.mark.usefixtures("quick")
def test_a_stopped_search_goes_on_with_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = trials.attempt, []

    def dying(asked: trials.Attempt, source: object = None) -> object:
        calls.append(asked.folder)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(asked, source)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "attempt", dying)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "search")
    before = (tmp_path / "search" / LINES).read_bytes()
    assert len(before.splitlines()) == 2
    with pytest.raises(RunError, match="--resume"):
        _ = choosing.Chosen(tmp_path / "search").best
    found = choosing.resume(tmp_path / "search", source=blob_run()[1], quiet=True)
    assert (tmp_path / "search" / LINES).read_bytes().startswith(before), "nothing that finished is lost"
    numbers = [(t.trial, t.rung) for t in found.record.trials]
    assert len(set(numbers)) == len(numbers), "nothing is tried twice"
    assert found.test is not None


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    """With processes, tasks by name, and SIGKILL in the middle of the trials."""
    script = (
        "from choosing_runs import numbers_run\nfrom quickstudy import choosing\n"
        "if __name__ == '__main__':\n"
        f"    choosing.choose(numbers_run()[0], minutes=0.75, out={str(tmp_path / 's')!r}, workers=2, quiet=True)\n"
    )
    (tmp_path / "go.py").write_text(script)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen([sys.executable, str(tmp_path / "go.py")], env=os.environ | {"PYTHONPATH": paths})
    began = time.monotonic()
    while not (tmp_path / "s" / LINES).exists() and time.monotonic() - began < 120:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(Record.read(tmp_path / "s", False).trials)
    assert done >= 1
    found = choosing.resume(tmp_path / "s", quiet=True)
    assert len(found.record.trials) >= done
    assert found.state["spent"] > 0
    assert found.test is not None
    assert found.metric.name == "mse"


@pytest.mark.usefixtures("quick")
def test_a_trial_that_crashes_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trials.attempt

    def sometimes(asked: trials.Attempt, source: object = None) -> object:
        if "trials/001" in asked.folder:
            raise MemoryError("no room")
        found = whole(asked, source)  # type: ignore[arg-type]
        return {**found, "mean": float("nan")} if "trials/002" in asked.folder else found

    monkeypatch.setattr(module, "attempt", sometimes)
    found = search(tmp_path / "search")
    assert [t.trial for t in found.record.failed] == [1, 2]
    assert "no room" in found.record.failed[0].error
    assert "no number" in found.record.failed[1].error
    assert 1 not in [t.trial for t in found.ranking]
    assert "no room" in report(found).read_text()


def test_a_network_without_weights_is_a_trial_without_steps(tmp_path: Path) -> None:
    config, source = blob_run()
    offered = choosing.menu(config, source)
    point = {"learner": "protonet", "network": "columns", "lr": 1e-3, "ways": 1}
    asked = trials.Attempt(offered.config(point).to_json(), str(tmp_path / "run"), 1.0, 12)
    found = trials.attempt(asked, source)
    assert found["steps"] == 0
    assert found["mean"] > 1 / 3


@pytest.mark.usefixtures("quick")
def test_what_was_begun_goes_on_as_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of trial 2: it goes on with its own point, though other trials would be proposed now."""
    whole = trials.attempt

    def dying(asked: trials.Attempt, source: object = None) -> object:
        if "trials/002" in asked.folder:
            raise KeyboardInterrupt
        return whole(asked, source)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "attempt", dying)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "search")
    begun = json.loads((tmp_path / "search" / "choose.json").read_text())["begun"]
    assert [one["trial"] for one in begun] == [2]
    found = choosing.resume(tmp_path / "search", source=blob_run()[1], quiet=True)
    mine = next(t for t in found.record.trials if t.trial == 2)
    assert mine.point == begun[0]["point"]
    assert [t.trial for t in found.record.trials if t.rung == 0] == sorted(t.trial for t in found.record.at(0))


def test_the_folder_of_another_trial_is_refused(tmp_path: Path) -> None:
    config, source = blob_run()
    trials.attempt(trials.Attempt(config.to_json(), str(tmp_path / "run"), 0.2, 8), source)
    other = replace(config, lr=0.5)
    with pytest.raises(RunError, match="other settings"):
        trials.attempt(trials.Attempt(other.to_json(), str(tmp_path / "run"), 0.2, 8), source)


@pytest.mark.usefixtures("quick")
def test_asked_to_stop_in_a_trial_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: Training, quiet: bool = False) -> None:
        raise Interrupted(self.folder, 3)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "run", stopped)
        patch.setattr(trials, "rate", lambda *_: 100.0)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "search")
    assert Record.read(tmp_path / "search", True).trials == [], "it has not failed"


@pytest.mark.usefixtures("quick")
def test_a_last_training_that_fails_leaves_what_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trials.attempt

    def failing(asked: trials.Attempt, source: object = None) -> object:
        if asked.folder.endswith("best"):
            raise TrainingError("it burst")
        return whole(asked, source)  # type: ignore[arg-type]

    monkeypatch.setattr(trials, "attempt", failing)
    found = search(tmp_path / "search")
    assert found.best["run"].startswith("trials/")
    assert found.run.evaluate(episodes=5).mean > 1 / 3


def test_settings_of_the_recipe_go_on_into_trials(tmp_path: Path) -> None:
    """What a run starts from, and steps where the recipe itself has none."""
    config, source = blob_run()
    first = trials.attempt(trials.Attempt(config.to_json(), str(tmp_path / "first"), 0.2, 8), source)
    assert first["steps"] > 0
    started = replace(config, start=str(tmp_path / "first"))
    trials.attempt(trials.Attempt(started.to_json(), str(tmp_path / "second"), 0.2, 8), source)
    assert json.loads((tmp_path / "second" / "config.json").read_text())["start"] == str(tmp_path / "first")
    offered = choosing.menu(replace(config, iterations=0), source)
    point = {"learner": "protonet", "network": "mlp, 40", "lr": 1e-3, "ways": 1}
    assert offered.config(point).iterations > 0
    assert offered.config({}).iterations == 0


@pytest.mark.usefixtures("quick")
def test_too_little_time_for_one_trial_still_trains_the_recipe(tmp_path: Path) -> None:
    found = search(tmp_path / "search", minutes=0.001)
    assert found.best["point"] == {}
    assert len(found.ranking) == 1
    assert "too few" in found.advice


def test_what_cannot_be_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    config, source = blob_run()
    with pytest.raises(ConfigError, match="more than 0 minutes"):
        choosing.choose(config, source=source, minutes=0, out=tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="must be a folder"):
        choosing.choose(config, source=source, bank=tmp_path / "file", out=tmp_path / "none")
    x = torch.randn(60, 4)
    y = torch.arange(6).repeat_interleave(10)
    with pytest.raises(DataError, match="held out for validation"):
        choosing.choose(config, source=arrays(x, y, val=0.0, test=0.0), out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_experience_of_another_space_is_left_alone_and_that_of_a_wider_one_is_cut() -> None:
    wide = Space({"learner": Choice("a", "b", "c"), "lr": Range(0.001, 1.0, log=True), "more": Choice(1, 2)})
    narrow = Space({"learner": Choice("a", "b"), "lr": Range(0.01, 1.0, log=True)})
    points = [{"learner": n, "lr": lr, "more": 1} for n, lr in (("a", 0.1), ("c", 0.1), ("b", 0.002), ("b", 0.5))]
    past = Experience(wide).task("t", points, [1.0, 2.0, 3.0, 4.0])
    cut = told_in(narrow, past)
    assert [(p["learner"], p["lr"]) for p in cut.tasks[0].points] == [("a", 0.1), ("b", 0.5)]
    assert cut.tasks[0].losses.tolist() == [1.0, 4.0]
    assert told_in(Space({"other": Range(0, 1)}), past).tasks == ()


def test_the_nearest_past_tasks_are_kept() -> None:
    space = Space({"lr": Range(0.001, 1.0)})
    past = Experience(space)
    for i in range(6):
        past = past.task(f"t{i}", [{"lr": 0.1}, {"lr": 0.2}], [1.0, 2.0], {"ways": float(i), "shots": 0.0})
    kept = nearest(past, {"ways": 4.2, "shots": 0.0}, 2)
    assert [task.name for task in kept.tasks] == ["t4", "t5"]


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("SHORTEST", 0.5), ("TASKS", (8, 16, 24)), ("TESTED", 10)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(trials, "PROBE", 0.2)
    arguments = [
        "choose",
        "--tasks",
        "sinusoid",
        "--minutes",
        "0.2",
        "--where",
        "loop",
        "--device",
        "cpu",
        "--no-report",
    ]
    assert main([*arguments, "--out", "found", "--queries", "10"]) == 0
    said = capsys.readouterr().out
    assert "Best:" in said
    assert "Run: found/" in said
    state = json.loads(Path("found", "choose.json").read_text())
    assert state["config"]["queries"] == 10
    assert main(["choose", "--resume", "found", "--no-report"]) == 0
    assert main(["choose", "--tasks", "no-such"]) == 2
    assert main(["choose", "--minutes", "3"]) == 2


def test_numbers_are_ranked_from_the_lowest(tmp_path: Path) -> None:
    record = Record(tmp_path, numbers_run()[1].spec.target.metric.higher_is_better)
    assert record.sign == -1

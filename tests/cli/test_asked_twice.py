"""What a command was told to learn, it is asked about: the same task, the same columns, and no file is lost."""

from __future__ import annotations

import csv
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.registry import learners, models, sources


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(**changes: object) -> qs.RunConfig:
    made = qs.RunConfig(
        name="run", tasks=sources.part("sinusoid"), model=models.part("mlp", width=8), iterations=2,
        learner=learners.part("maml", steps=1), ways=1, shots=4, queries=4, validation_episodes=2, device="cpu",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def machines(here: Path) -> Path:
    """runs/run, trained on ten machines of readings.csv."""
    rows = [f"m{m},{i / 10},{m + i / 10}" for m in range(10) for i in range(12)]
    Path("readings.csv").write_text("machine,load,label\n" + "\n".join(rows) + "\n")
    tasks = sources.part("table_csv", path="readings.csv", target="numbers", group="machine")
    qs.train(config(tasks=tasks), quiet=True)
    return here / "readings.csv"


def test_the_next_line_of_a_grouped_table_works(machines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", "run", "--support", "readings.csv", "--task", "m3", "--out", "m3"]) == 0
    proposed = capsys.readouterr().out.splitlines()[-1].partition(": quickstudy ")[2]
    Path("unseen.csv").write_text("load\n0.3\n0.7\n")
    assert main(shlex.split(proposed)) == 0
    with Path("predictions.csv").open() as file:
        assert [row[0] for row in csv.reader(file)][1:] == ["line 2", "line 3"]


def test_of_a_file_of_several_tasks_one_is_asked_about(machines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", "run", "--support", "readings.csv", "--task", "m3", "--out", "m3"]) == 0
    assert main(["predict", "m3", "readings.csv", "--task", "m3", "--out", "predictions.csv"]) == 0
    with Path("predictions.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == [f"line {number}" for number in range(38, 50)]
    assert main(["predict", "m3", "readings.csv", "--out", "all.csv"]) == 2
    assert "holds 10 tasks" in capsys.readouterr().err and not Path("all.csv").exists()


def test_a_file_of_one_new_task_needs_no_column_that_names_it(machines: Path) -> None:
    Path("new.csv").write_text("load,label\n0.1,5\n0.2,6\n0.4,7\n")
    assert main(["adapt", "run", "--support", "new.csv", "--out", "new"]) == 0
    Path("later.csv").write_text("load\n0.3\n")
    assert main(["predict", "new", "later.csv"]) == 0


def test_what_is_predicted_from_is_not_written_over(machines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", "run", "--support", "readings.csv", "--task", "m3", "--out", "m3"]) == 0
    before = machines.read_text()
    assert main(["predict", "m3", "readings.csv", "--task", "m3", "--out", "./readings.csv"]) == 2
    assert "would be lost" in capsys.readouterr().err and machines.read_text() == before


def test_numbers_without_groups_are_asked_for_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text("machine,load,label\nm1,1,2\n")
    options = ["--tasks", "table_csv", "--tasks.path", "t.csv", "--tasks.target", "numbers", "--iterations", "1"]
    assert main(["train", "sinusoid-maml", *options]) == 2
    assert "--tasks.group" in capsys.readouterr().err


@pytest.mark.parametrize("made", ["module = nn.Linear(1, 1)", "def module():\n    return nn.Linear(1, 1)"])
def test_a_network_of_ones_own_is_taken_as_it_stands_or_as_a_function_makes_it(made: str, here: Path) -> None:
    qs.train(config(), module=torch.nn.Linear(1, 1), quiet=True)
    file = f"parts_{len(made)}.py"  # a process knows one module of a name
    Path(file).write_text(f"from torch import nn\n\n{made}\n")
    assert main(["evaluate", "run", "--episodes", "2", "--steps", "1", "--import", file]) == 0


def test_a_forecast_of_another_series_is_doubted(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    tasks = sources.part("series", window=4)
    run = qs.train(config(tasks=tasks, model=models.part("lstm", width=4)), quiet=True)
    model = run.adapt(80 + torch.arange(9.0).sin())
    model.predict(80 + torch.arange(12.0).sin(), steps=2)
    assert "another series" not in caplog.text
    model.predict(500 + torch.arange(12.0).sin(), steps=2)
    assert "they seem to be of another series" in caplog.text


def test_a_moving_average_that_cannot_forget_is_said(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    qs.train(config(average=0.5, iterations=10), quiet=True)
    assert "moving average" not in caplog.text
    qs.train(config(average=0.99, iterations=10), quiet=True)
    assert "After 10 steps the moving average of φ (--average 0.99) is still 90 % the untrained φ" in caplog.text

"""A folder belongs to one process, nobody is stuck after a kill, and names are names."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import assert_same_bits, linear_run

from quickstudy.errors import ConfigError, RunError
from quickstudy.runs.train import resume, train
from quickstudy.storage.folders import runs, take, take_folder, take_run
from quickstudy.storage.held import hold


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


ROUNDS = 200


def start(place: Path, told: Any, together: Any) -> None:
    """What each process does in every round: wait for the others, take a folder, and keep it to the round's end."""
    os.chdir(place)
    for round in range(ROUNDS):
        together.wait(60)
        with take_folder(f"r{round}", None, overwrite=False) as held:
            told.put((round, str(held.folder)))
            (held.folder / "config.json").write_text("{}")
            if round % 2:
                together.wait(60)  # so that in every other round the first is done before the last begins


def test_processes_that_start_at_one_instant_get_folders_of_their_own(tmp_path: Path) -> None:
    clean = multiprocessing.get_context("forkserver")
    told, together = clean.Queue(), clean.Barrier(4)
    processes = [clean.Process(target=start, args=(tmp_path, told, together)) for _ in range(4)]
    for process in processes:
        process.start()
    taken: dict[int, set[str]] = {round: set() for round in range(ROUNDS)}
    for _ in range(4 * ROUNDS):
        round, folder = told.get(timeout=60)
        taken[round].add(folder)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    for round, folders in taken.items():
        assert folders == {f"runs/r{round}", *(f"runs/r{round}-{n}" for n in (2, 3, 4))}


def test_a_held_folder_is_refused_until_it_is_released(tmp_path: Path) -> None:
    with take_folder("x", tmp_path / "run", overwrite=False):
        assert hold(tmp_path / "run") is None
        for attempt in (take, take_run, lambda folder: take_folder("x", folder, overwrite=True)):
            with pytest.raises(RunError, match="is in use: another process writes to it"):
                attempt(tmp_path / "run")
    take(tmp_path / "run").release()


def test_the_system_lets_go_of_what_a_killed_process_held(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from quickstudy.storage.folders import take\n"
        "held = take(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    assert hold(tmp_path) is None
    process.kill()
    process.wait()
    take(tmp_path).release()


def test_training_into_a_folder_where_another_trains_is_refused(tmp_path: Path) -> None:
    run = train(linear_run(), out=tmp_path / "run", quiet=True)
    with take(run.folder), pytest.raises(RunError, match="in use"):
        resume(run.folder, quiet=True)
    with take(run.folder), pytest.raises(RunError, match="in use"):
        train(linear_run(), out=run.folder, overwrite=True, quiet=True)
    resume(run.folder, quiet=True)


@pytest.mark.parametrize("left", [(".config.json.abc123",), (".splits.json.0123456789abcdef", "splits.json")])
def test_what_a_killed_start_leaves_is_in_nobodys_way(left: tuple[str, ...], tmp_path: Path) -> None:
    train(linear_run(), out=tmp_path / "whole", quiet=True)
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_text("{")
    train(linear_run(), out=tmp_path / "run", quiet=True)
    assert_same_bits(tmp_path / "whole", tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".*"))


def test_resuming_removes_what_killed_writes_left_and_nothing_else(tmp_path: Path) -> None:
    run = train(linear_run(), out=tmp_path / "run", quiet=True)
    mine = [run.folder / ".mine.0123456789abcdef", run.folder / ".config.json.notes"]
    left = [
        run.folder / ".report.html.0123456789abcdef",
        run.folder / "checkpoints" / ".step-000000003.safetensors.ab12cd",
    ]
    for path in (*mine, *left):
        path.write_text("half")
    resume(run.folder, quiet=True)
    assert all(path.exists() for path in mine) and not any(path.exists() for path in left)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        (" a", "begins or ends with a space"),
        ("a\nb", "cannot be seen"),
        ("a\x1b[31m", "cannot be seen"),
        ("a\u202eb", "cannot be seen"),
        ("..", "begins with '.'"),
        ("-a", "begins with '-'"),
        ("../a", "is a path"),
        ("/tmp/a", "is a path"),
        ("a\\b", "is a path"),
        ("é" * 101, "is 202 bytes long"),
    ],
)
def test_names_that_cannot_be_folders(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        linear_run(name=name)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "photos-2", "screw [old]", "größe", "a b", "x" * 200])
def test_names_that_can_be(name: str) -> None:
    assert linear_run(name=name).name == name


def test_a_folder_of_another_program_hides_no_run(here: Path) -> None:
    for name, text in {"web": json.dumps({"name": "a web page"}), "damaged": "{", "deep": "[" * 100_000}.items():
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "config.json").write_text(text)
    train(linear_run(), quiet=True)
    assert [folder.name for folder in runs()] == ["damaged", "deep", "small"]
    done = subprocess.run([sys.executable, "-m", "quickstudy", "list", "runs"], capture_output=True, text=True)
    assert done.returncode == 0 and "small" in done.stdout and "linear" in done.stdout
    assert done.stdout.count("config damaged") == 2

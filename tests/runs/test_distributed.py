"""Several real processes train as one: to the same φ, resumed on another number, stopped together, never hanging."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import class_run, left_behind, linear_run, newest, train_until

from quickstudy.engine.distribute import TIMEOUT, Group, patience
from quickstudy.errors import ConfigError
from quickstudy.recipes import sinusoid_maml
from quickstudy.registry import recipes
from quickstudy.runs.train import resume, train
from quickstudy.training.build import check_group
from quickstudy.training.config import RunConfig
from quickstudy.training.metrics import read_metrics

CHANGES: dict[str, Any] = {
    "iterations": 60,
    "meta_batch": 5,  # odd: the shares of two processes differ, and must be weighted
    "optimizer": "SGD",  # unlike Adam it sees the length of the meta-gradient
    "optimizer_options": {"momentum": 0.9},
    "lr": 0.003,
    "average": 0.9,
    "train_queries": 5,
    "validate_every": 20,
    "validation_episodes": 40,
    "checkpoint_every": 5,
    "log_every": 4,
    "calibration_episodes": 1,
    "device": "cpu",
    "schedule": "none",
    "vectorize": "vmap",  # one plan, so that speed does not decide on the rounding
    "compile": "off",
}
CONFIG = replace(sinusoid_maml(), **CHANGES)
FLAGS = [f"--{n.replace('_', '-')}={v}" for n, v in CHANGES.items() if n != "optimizer_options"]
OPTIONS = ["sinusoid-maml", "--no-report", "--optimizer-options", "momentum", "0.9", *FLAGS]
PYTHON = [sys.executable, "-m"]
TRAIN = [*PYTHON, "quickstudy", "train"]
TORCHRUN = [*PYTHON, "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "quickstudy"]
ENVIRONMENT = {n: v for n, v in os.environ.items() if not n.startswith("QUICKSTUDY_")} | {"OMP_NUM_THREADS": "1"}

STARTED: list[subprocess.Popen[str]] = []


def started(command: list[str], **environment: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    STARTED.append(subprocess.Popen(command, env=ENVIRONMENT | environment, **pipes))
    return STARTED[-1]


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """No process outlives its test; a launcher is asked first, so that it ends its own."""
    yield
    for process in STARTED:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    STARTED.clear()


def group_of(size: int, *command: str, **environment: str) -> list[subprocess.Popen[str]]:
    """The same command in several processes, in the order of ranks, as a launcher starts them but without one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [started([*command], **(where | {"RANK": str(rank)} | environment)) for rank in range(size)]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of each; fails where one hangs."""
    results = [process.communicate(timeout=120) for process in processes]
    return [(p.returncode, out, err) for p, (out, err) in zip(processes, results, strict=True)]


def wait_for_checkpoint(folder: Path, step: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = sorted((folder / "checkpoints").glob("step-*.safetensors"))
        if found and int(found[-1].stem.removeprefix("step-")) >= step:
            return
        assert all(process.poll() is None for process in STARTED), STARTED[-1].communicate()
        time.sleep(0.002)
    raise AssertionError("training wrote no checkpoint")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of it."""
    return train(CONFIG, out=tmp_path_factory.mktemp("alone") / "run", quiet=True).folder


def assert_same_run(folder: Path, other: Path) -> None:
    """Both runs left the same tensors and lines of metrics, but for rounding."""
    (tensors, facts), (others, other_facts) = left_behind(folder), left_behind(other)
    torch.testing.assert_close(tensors, others, rtol=1e-4, atol=1e-5)
    assert facts[0]["step"] == other_facts[0]["step"]
    assert facts[0]["validation"] == pytest.approx(other_facts[0]["validation"], rel=1e-4)
    assert len(facts) == len(other_facts)
    for line, other_line in zip(facts[2:], other_facts[2:], strict=True):
        assert line.keys() == other_line.keys()
        for name, value in line.items():
            assert value == (
                other_line[name] if isinstance(value, str) else pytest.approx(other_line[name], rel=1e-4, abs=1e-6)
            )


def test_two_processes_train_as_one(tmp_path: Path, alone: Path) -> None:
    process = started([*TORCHRUN, "train", *OPTIONS, "--out", str(tmp_path / "run")])
    [(status, out, err)] = ended([process])
    assert status == 0, err
    assert_same_run(tmp_path / "run", alone)
    assert out.count("Trained sinusoid-maml") == 1 and err.count("60/60") == 1, "one process speaks for both"


@pytest.mark.parametrize("recipe", ["rl-bandit", "rl-point-maml"])
def test_agents_learn_from_what_all_processes_have_played(recipe: str, tmp_path: Path) -> None:
    """Advantages are told in units of all tasks, and the tasks of a step are gone through in parts of all."""
    remembers = recipe == "rl-bandit"
    changes: dict[str, Any] = {
        "iterations": 6, "meta_batch": 7, "optimizer": "SGD", "lr": 0.03, "queries": 3, "shots": 3, "device": "cpu",
        "validate_every": 3, "validation_episodes": 20, "schedule": "none", "vectorize": "vmap", "log_every": 2,
        "reuse": 2 if remembers else 1, "parts": 3 if remembers else 1,
    }  # fmt: skip
    single = train(replace(recipes[recipe](), **changes), out=tmp_path / "single", quiet=True)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in changes.items()]
    process = started([*TORCHRUN, "train", recipe, "--no-report", *flags, "--out", str(tmp_path / "run")])
    [(status, _, err)] = ended([process])
    assert status == 0, err
    assert_same_run(tmp_path / "run", single.folder)


def test_stopped_on_two_processes_and_resumed_on_one(tmp_path: Path, alone: Path) -> None:
    """The request reaches one process only, and all agree on it."""
    folder = tmp_path / "run"
    processes = group_of(2, *TRAIN, *OPTIONS, "--out", str(folder))
    wait_for_checkpoint(folder, 10)
    processes[1].send_signal(signal.SIGINT)
    (status, out, err), (other_status, other_out, other_err) = ended(processes)
    assert status == other_status == 130, err + other_err
    stopped = int(newest(folder).stem.removeprefix("step-"))
    assert stopped < 60, "it ended before it could be stopped"
    assert f"saved after step {stopped}" in out and "Traceback" not in err + other_err
    assert not other_out and not other_err
    resume(folder, quiet=True)
    assert_same_run(folder, alone)


def test_stopped_on_one_process_and_resumed_on_two(
    tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    train_until(33, CONFIG, folder, monkeypatch)
    results = ended(group_of(2, *TRAIN, "--resume", str(folder), "--no-report"))
    assert [status for status, _, _ in results] == [0, 0], results
    assert_same_run(folder, alone)


def test_ctrl_c_under_the_launcher_saves_and_ends_all(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = started([*TORCHRUN, "train", *OPTIONS, "--iterations=100000", "--out", str(folder)])
    wait_for_checkpoint(folder, 5)
    process.send_signal(signal.SIGINT)
    [(status, out, err)] = ended([process])
    assert status != 0
    assert out.count(f"saved after step {int(newest(folder).stem.removeprefix('step-'))}") == 1, err
    assert f"quickstudy train --resume {folder}" in out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_process_ends_the_others(number: signal.Signals, tmp_path: Path) -> None:
    """Whether it died or only does not answer any more."""
    folder = tmp_path / "run"
    command = [*TRAIN, *OPTIONS, "--iterations=100000", "--out", str(folder)]
    processes = group_of(2, *command, **{TIMEOUT: "300" if number == signal.SIGKILL else "20"})
    wait_for_checkpoint(folder, 10)
    processes[1].send_signal(number)
    began = time.monotonic()
    [(status, _, err)] = ended(processes[:1])
    assert status == 2 and "Traceback" not in err
    saved = int(newest(folder).stem.removeprefix("step-"))
    assert f"Process 0 of 2 lost another one during step {saved + 1}" in err
    assert f"quickstudy train --resume {folder}" in err and TIMEOUT in err
    assert time.monotonic() - began < 60


BROKEN = """
import os, sys
from quickstudy.errors import DataError, QuickstudyError
from quickstudy.registry import learners, sources
from quickstudy.rl import Bandit, EnvironmentSource
from quickstudy.tasks.sinusoid import SinusoidSource
from small_runs import linear_run
import quickstudy as qs

class Broken(SinusoidSource):
    '''Task 7, the second of step 1 for process 1 of two with meta-batch 4, is not as it should be.'''

    def episodes(self, split, indices):
        episodes = super().episodes(split, indices)
        if split == "train" and (indices == 7).any():
            if sys.argv[1] == "data":
                raise DataError("Task 7 has no data.")
            episodes.query.y[indices == 7] = float("inf")
        return episodes

class Rots(Bandit):
    '''Pays no number to process 1 from step 1 on; one play is part of the set-up.'''

    def task(self, split, keys):
        global plays
        plays += split == "train"
        return super().task(split, keys)

    def step(self, task, state, action, keys):
        step = super().step(task, state, action, keys)
        broken = os.environ["RANK"] == "1" and plays > 2
        return step._replace(reward=step.reward / 0 if broken else step.reward)

plays = 0
acts = {"learner": learners.part("ppo"), "tasks": sources.part("bandit"), "ways": 1, "compile": "off"}
try:
    agent = sys.argv[1] == "play"
    source = EnvironmentSource.of(Rots(arms=3), True) if agent else Broken()
    qs.train(linear_run(meta_batch=4, **acts if agent else {}), out=sys.argv[2], source=source, quiet=True)
except QuickstudyError as error:
    print(type(error).__name__, error, flush=True)
    os._exit(2)  # as quickstudy.__main__ does, and why is said there
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("loss", ["TrainingError The loss of training episode 7 (seed 0, step 1) is not finite"] * 2),
        ("data", ["TrainingError Process 1 of 2: Task 7 has no data.", "DataError Task 7 has no data."]),
        ("play", ["TrainingError Process 1 of 2: Rots gave a reward", "DataError Rots gave a reward"]),
    ],
)
def test_what_one_process_meets_stops_all_with_its_reason(what: str, said: list[str], tmp_path: Path) -> None:
    here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    results = ended(group_of(2, sys.executable, "-c", BROKEN, what, str(tmp_path / "run"), **here))
    for (status, out, err), words in zip(results, said, strict=True):
        assert status == 2 and out.startswith(words), err
    assert newest(tmp_path / "run").stem == "step-000000001", "φ from before the step is saved"


PLANNED = """
import sys
import quickstudy as qs
from quickstudy.engine import Plan, Tuner
from quickstudy.engine.distribute import join
from small_runs import linear_run

used = []

def gradients(tuner, params, episodes, keys, left):
    # The leading process changes its mind in the second step, as if it had measured.
    used.append(tuner.engine.plan.vectorize)
    found = tuner.engine.gradients(params, episodes, keys)
    if join().leads and len(used) == 2:
        tuner.engine = tuner.engine.planned(Plan("loop"))
    return found

Tuner.gradients = gradients
qs.train(linear_run(iterations=4, vectorize="vmap"), out=sys.argv[1], quiet=True)
print(*used)
"""


def test_all_processes_follow_the_plan_of_the_leader(tmp_path: Path) -> None:
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    results = ended(group_of(2, sys.executable, "-c", PLANNED, str(tmp_path / "run"), **here))
    assert [out for _, out, _ in results] == ["vmap vmap loop loop\n"] * 2, results


def test_processes_of_different_settings_refuse_to_train_together(tmp_path: Path) -> None:
    program = (
        "import os, sys; from quickstudy.cli import main; sys.exit(main([*sys.argv[1:], '--seed', os.environ['RANK']]))"
    )
    options = ["train", *OPTIONS, "--out", str(tmp_path / "run")]
    results = ended(group_of(2, sys.executable, "-c", program, *options))
    assert [status for status, _, _ in results] == [2, 2]
    assert "Process 1 was started with other settings than process 0" in results[0][2]
    assert not (tmp_path / "run").exists() and not results[1][2]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (linear_run(meta_batch=2), ["2 tasks", "3 processes", "Start at most 2", "--meta-batch 3"]),
        (class_run("simpleshot", meta_batch=1), ["1 task (", "'simpleshot'", "one batch of examples counts as a task"]),
    ],
)
def test_fewer_tasks_than_processes(config: RunConfig, said: list[str]) -> None:
    check_group(config, Group())
    with pytest.raises(ConfigError) as caught:
        check_group(config, Group(2, 3))
    assert not [words for words in said if words not in str(caught.value)], str(caught.value)


def test_other_commands_are_refused_and_one_process_says_so() -> None:
    results = ended(group_of(2, *PYTHON, "quickstudy", "list", "recipes"))
    assert [status for status, _, _ in results] == [2, 2]
    assert "only `quickstudy train` shares its work" in results[0][2] and not results[1][2]


def test_shares_cover_all_tasks_once_and_in_order() -> None:
    indices = torch.arange(7, 18)
    for size in range(1, 12):
        shares = [Group(rank, size).share(indices) for rank in range(size)]
        assert torch.equal(torch.cat(shares), indices)
        lengths = [len(share) for share in shares]
        assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("text", ["soon", "0", "-3", "inf", "nan"])
def test_a_timeout_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, text)
    with pytest.raises(ConfigError, match=TIMEOUT):
        patience()


def test_metrics_are_written_by_the_leader_alone(tmp_path: Path) -> None:
    from quickstudy.training.metrics import MetricsLog

    with MetricsLog(tmp_path, 0, writes=False) as log:
        log.write("train", 1, {"loss": 1.0}, 0.0)
    assert not read_metrics(tmp_path) and not list(tmp_path.iterdir())

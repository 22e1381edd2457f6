"""Processes that are killed at any moment, from the first on: what they began ends as if they never had been."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import quickstudy as qs
from quickstudy.registry import learners, models, sources
from quickstudy.runs.run import Run
from quickstudy.runs.train import resume, train
from quickstudy.storage.tensors import load_tensors
from quickstudy.training.config import RunConfig
from quickstudy.training.loop import Interrupted
from quickstudy.training.metrics import read_metrics
from quickstudy.training.stop import StopRequests

KILLS = int(os.environ.get("QUICKSTUDY_FUZZ", "25")) // 5
FILES = re.compile(
    r"(config|splits|plans|report|trust)\.json|report\.html|metrics\.jsonl|model\.safetensors|checkpoints(/step-\d+\.safetensors)?"
    r"|tensorboard(/events\.out\.tfevents\..*)?"
)
CONFIG = RunConfig(
    name="killed", tasks=sources.part("glyphs", alphabets=8, characters=5, drawings=3, size=8),
    model=models.part("mlp", width=8, depth=1), learner=learners.part("maml", lr=0.1), ways=2, shots=1, queries=2,
    iterations=30, meta_batch=2, validate_every=7, validation_episodes=4, calibration_episodes=1, checkpoint_every=3,
    log_every=2, device="cpu", compile="off", vectorize="loop",
)  # fmt: skip


# Forked from a process that has imported quickstudy and nothing else: this one may have threads.
CLEAN = multiprocessing.get_context("forkserver")
CLEAN.set_forkserver_preload(
    ["quickstudy.runs.train", "quickstudy.report.build", "quickstudy.tasks", "quickstudy.learners"]
)


def killed(act: Callable[..., object], folder: Path, after: float) -> bool:
    """Whether a process that acts on the folder had to be killed after so many seconds; it must not fail by itself."""
    process = CLEAN.Process(target=act, args=(folder,))
    process.start()
    process.join(after)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"ended by itself with status {process.exitcode}"
    return process.exitcode != 0


def go_on(folder: Path) -> None:
    run = resume(folder, quiet=True) if (folder / "config.json").exists() else train(CONFIG, out=folder, quiet=True)
    qs.report(run, episodes=8, quiet=True)


def left(folder: Path) -> dict[str, object]:
    """What must be the same after any number of kills."""
    model, _ = load_tensors(folder / "model.safetensors")
    state, _ = load_tensors(folder / "checkpoints" / "step-000000030.safetensors")
    state.pop("random.cpu")
    lines = [(line["split"], line["step"], line.get("loss"), line.get("accuracy")) for line in read_metrics(folder)]
    return {name: value.tolist() for name, value in (model | state).items()} | {"lines": lines}


def test_training_and_reporting_killed_at_any_moment(tmp_path: Path) -> None:
    assert not killed(go_on, tmp_path / "first", 300)  # imports, too, beside whatever else runs
    began = time.monotonic()
    assert not killed(go_on, tmp_path / "whole", 300)
    span, chance, kills, rounds = time.monotonic() - began, random.Random(KILLS), 0, 0
    wanted = left(tmp_path / "whole")
    while kills < KILLS:
        folder = tmp_path / f"run{rounds}"
        rounds += 1
        while killed(go_on, folder, chance.uniform(0, span)):
            kills += 1
        assert left(folder) == wanted
        strange = [str(path.relative_to(folder)) for path in folder.rglob("*")]
        assert [name for name in strange if not FILES.fullmatch(name)] == []


def train_long(folder: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored where tests run under nohup
    with contextlib.suppress(Interrupted):
        train(replace(CONFIG, iterations=10**6), out=folder, quiet=True)
        raise AssertionError("nobody asked it to stop")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_training_asked_to_stop_saves_first(number: int, tmp_path: Path) -> None:
    asked = CLEAN.Process(target=train_long, args=(tmp_path / "run",))
    asked.start()
    while not (tmp_path / "run" / "model.safetensors").exists():  # of the first validation
        time.sleep(0.01)
    assert asked.pid is not None
    os.kill(asked.pid, number)
    os.kill(asked.pid, number)  # terminals that close say so twice
    asked.join(60)
    asked.kill()
    asked.join()
    assert asked.exitcode == 0
    last = read_metrics(tmp_path / "run")[-1]["step"]
    newest = max((tmp_path / "run" / "checkpoints").iterdir()).name
    assert int(newest[5:14]) >= last > 0 and Run(tmp_path / "run").kept["step"] > 0


def test_a_hangup_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequests():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)

"""Models that take each other's place: one of them is always there, whole, and the last can come back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_grow import at_once, clusters

import quickstudy as qs
from quickstudy.deploy.model import Model
from quickstudy.deploy.versions import MOST, undo, versions
from quickstudy.errors import CheckpointError, RunError

KILLS = 3


def first() -> Model:
    x, labels = clusters(shots=1)
    return at_once("protonet", x, labels, single=True)


def grown(model: Model, seed: int) -> Model:
    return model.more(*clusters(shots=1, seed=seed))


def count(folder: Path) -> int:
    return qs.load(folder, device="cpu").count


def test_a_model_takes_the_place_of_another_and_goes_again(tmp_path: Path) -> None:
    folder, model = tmp_path / "m", first()
    model.save(folder)
    for seed in range(1, MOST + 3):
        model = grown(model, seed)
        model.save(folder, replacing=True)
        assert count(folder) == 4 * (seed + 1)
    held = versions(folder)
    assert len(held) == MOST and [path.stem for path in held] == [f"{i:06}" for i in range(3, MOST + 3)]
    for seed in range(MOST + 1, 1, -1):
        assert count(undo(folder)) == 4 * (seed + 1)
    with pytest.raises(RunError, match="nothing to undo"):
        undo(folder)
    assert count(folder) == 12


def test_what_is_no_model_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no adapted model"):
        first().save(tmp_path / "m", replacing=True)
    with pytest.raises(RunError, match="already holds a model"):
        first().save(first().save(tmp_path / "m"))
    with pytest.raises(RunError, match="no adapted model"):
        undo(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    grown(first(), 1).save(tmp_path / "m", replacing=True)
    path = versions(tmp_path / "m")[0]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="truncated"):
        undo(tmp_path / "m")
    assert count(tmp_path / "m") == 8


def test_a_change_that_was_killed_between_its_two_steps_is_not_undone_twice(tmp_path: Path) -> None:
    folder = first().save(tmp_path / "m")
    grown(first(), 1).save(folder, replacing=True)
    os.link(folder / "model.safetensors", folder / "versions" / "000002.safetensors")  # as far as one came
    assert count(undo(folder)) == 4 and versions(folder) == []
    grown(first(), 1).save(folder, replacing=True)
    os.link(folder / "model.safetensors", folder / "versions" / "000002.safetensors")
    grown(grown(first(), 1), 2).save(folder, replacing=True)
    assert len(versions(folder)) == 2 and count(undo(folder)) == 8 and count(undo(folder)) == 4


REPLACING = """
import sys, torch
from pathlib import Path
import quickstudy as qs
folder = Path(sys.argv[1])
model = qs.load(folder, device="cpu")
print("there", flush=True)
while True:
    model.save(folder, replacing=True)
"""


def test_a_process_killed_at_any_moment_leaves_a_whole_model(tmp_path: Path) -> None:
    folder, asked = first().save(tmp_path / "m"), clusters(shots=1, seed=9)[0].float()
    wanted, chance = qs.load(folder, device="cpu")(asked), random.Random(KILLS)
    process = subprocess.Popen([sys.executable, "-c", REPLACING, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    for _ in range(KILLS):
        time.sleep(0.2 * chance.random())
        pid = process.pid
        os.kill(pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert torch.equal(qs.load(folder, device="cpu")(asked), wanted)
        for path in versions(folder):
            assert torch.equal(Model.restored(*qs_read(path), None, "cpu")(asked), wanted)
        process = subprocess.Popen([sys.executable, "-c", REPLACING, str(folder)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "there\n"
    process.kill()
    process.wait()


def qs_read(path: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, object]]:
    from quickstudy.deploy.store import read_model

    return read_model(path.parent, path.name)

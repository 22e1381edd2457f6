"""The same config gives the same bits, and a run that was stopped, killed or damaged ends as if it never had been."""

from __future__ import annotations

import ast
import logging
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_runs import assert_same_bits, blobs, class_run, linear_run, newest, train_until

import quickstudy
from quickstudy.engine import tune
from quickstudy.errors import CheckpointError, RunError
from quickstudy.registry import models
from quickstudy.runs.run import Run
from quickstudy.runs.train import resume, train
from quickstudy.storage.tensors import load_tensors, save_tensors
from quickstudy.training.outer import Outer

OUTER: dict[str, dict[str, Any]] = {
    "adam": {},
    "momentum and bounds": {"optimizer": "SGD", "optimizer_options": {"momentum": 0.9}, "clip": 0.05},
    "one cycle": {"optimizer": "AdamW", "schedule": "OneCycleLR", "optimizer_options": {"weight_decay": 0.1}},
    "moving average": {"average": 0.8, "schedule": "CosineAnnealingLR"},
    "milestones": {"schedule": "MultiStepLR", "schedule_options": {"milestones": [3, 9]}},
    "cyclic": {"schedule": "CyclicLR", "schedule_options": {"base_lr": 1e-3, "step_size_up": 4}},
    "ragged lines": {"log_every": 5, "checkpoint_every": 4},
}


def test_same_config_same_bits(tmp_path: Path) -> None:
    for name in ("one", "two"):
        torch.rand(3)  # what the process did before must not matter
        train(linear_run(average=0.9), out=tmp_path / name, quiet=True)
    assert_same_bits(tmp_path / "one", tmp_path / "two")
    train(linear_run(average=0.9, seed=1), out=tmp_path / "other", quiet=True)
    with pytest.raises(AssertionError, match="differ"):
        assert_same_bits(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize("name", OUTER)
def test_resumed_is_never_stopped(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = linear_run(**OUTER[name])
    train(config, out=tmp_path / "whole", quiet=True)
    train_until(10, config, tmp_path / "stopped", monkeypatch)
    resume(tmp_path / "stopped", quiet=True)
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


def test_resuming_a_run_whose_steps_are_one_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Path] = []
    move = Outer.move

    def counted(outer: Outer, *arguments: Any) -> None:
        steps.append(tmp_path)
        move(outer, *arguments)

    monkeypatch.setattr(Outer, "move", counted)
    monkeypatch.setattr(tune, "_GAIN", 1e9)  # whatever the clock says, what is compiled is kept
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    config = linear_run(compile="on", clip=0.05, average=0.8, schedule="CosineAnnealingLR")
    train(config, out=tmp_path / "whole", quiet=True)
    assert len(steps) == config.iterations - 2  # the tuner looks at two first
    train_until(10, config, tmp_path / "stopped", monkeypatch)
    resume(tmp_path / "stopped", quiet=True)
    assert len(steps) == (config.iterations - 2) + (10 - 2) + (config.iterations - 9)
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")
    train(replace(config, compile="off"), out=tmp_path / "eager", quiet=True)
    found, wanted = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "eager"))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_resuming_with_batch_norm_and_own_tasks(tmp_path: Path) -> None:
    config = class_run("protonet", average=0.5)
    module = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.BatchNorm1d(6))
    given: dict[str, Any] = {"module": module, "source": blobs(), "quiet": True}
    train(config, out=tmp_path / "whole", **given)
    train(config, out=tmp_path / "stopped", **given)
    newest(tmp_path / "stopped").unlink()
    resume(tmp_path / "stopped", **given)
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("name", ["adam", "one cycle"])  # the latter gives no rate beyond the last step
def test_resuming_a_finished_run_changes_nothing(name: str, tmp_path: Path) -> None:
    run = train(linear_run(**OUTER[name]), out=tmp_path / "run", quiet=True)
    before = {p.name: p.read_bytes() for p in run.folder.glob("*.*") if p.is_file()}
    resume(run.folder, quiet=True)
    assert {p.name: p.read_bytes() for p in run.folder.glob("*.*") if p.is_file()} == before


PROGRAM = """
import sys
import torch
torch.set_num_threads(1)
from quickstudy.cli import main
sys.exit(main(sys.argv[1:]))
"""
NUMBERS = {
    "iterations": 80, "meta-batch": 2, "model.width": 6, "validation-episodes": 4, "validate-every": 30,
    "checkpoint-every": 5, "log-every": 4, "calibration-episodes": 1, "average": 0.9,
}  # fmt: skip
OPTIONS = ["linear-maml", "--no-report", "--device=cpu", *(f"--{name}={value}" for name, value in NUMBERS.items())]


def start(*arguments: str) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, "train", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(folder: Path, step: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = sorted((folder / "checkpoints").glob("step-*.safetensors"))
        if found and int(found[-1].stem.removeprefix("step-")) >= step:
            return
        time.sleep(0.002)
    raise AssertionError("training wrote no checkpoint")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = start(*OPTIONS, "--out", str(folder))
    assert process.wait() == 0
    return folder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_real_process_stopped_and_resumed(number: signal.Signals, tmp_path: Path, uninterrupted: Path) -> None:
    folder = tmp_path / "run"
    process = start(*OPTIONS, "--out", str(folder))
    wait_for_checkpoint(folder, 25)
    process.send_signal(number)
    out, err = process.communicate()
    stopped = int(newest(folder).stem.removeprefix("step-"))
    assert stopped < 80, "it ended before it could be stopped"
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"saved after step {stopped}" in out
        assert f"quickstudy train --resume {folder}" in out
        assert "Traceback" not in err
    else:
        assert process.returncode == -signal.SIGKILL
    process = start("--resume", str(folder), "--no-report")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert_same_bits(uninterrupted, folder)


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        del data[len(data) // 2 :]
    else:
        data[-5] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(("how", "said"), [("truncated", "truncated"), ("edited", "does not match its checksum")])
def test_damaged_checkpoint_costs_one_interval(
    how: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(linear_run(), out=tmp_path / "whole", quiet=True)
    train(linear_run(), out=tmp_path / "run", quiet=True)
    damage(newest(tmp_path / "run"), how)
    with caplog.at_level(logging.WARNING, "quickstudy"):
        resume(tmp_path / "run", quiet=True)
    assert said in caplog.text and newest(tmp_path / "run").name in caplog.text and "before it" in caplog.text
    assert_same_bits(tmp_path / "whole", tmp_path / "run")


def test_nothing_left_to_resume_from(tmp_path: Path) -> None:
    folder = train(linear_run(), out=tmp_path / "run", quiet=True).folder
    for path in (folder / "checkpoints").iterdir():
        damage(path, "edited")
    with pytest.raises(CheckpointError, match=r"no usable checkpoint.*step-000000012.*step-000000009"):
        resume(folder, quiet=True)
    with pytest.raises(RunError, match="not a run"):
        resume(tmp_path, quiet=True)


def test_without_a_checkpoint_it_begins_again_to_the_same_bits(tmp_path: Path) -> None:
    train(linear_run(), out=tmp_path / "whole", quiet=True)
    folder = train(linear_run(), out=tmp_path / "run", quiet=True).folder
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("config.json", "metrics.jsonl"):
            path.unlink()
    resume(folder, quiet=True)
    assert_same_bits(tmp_path / "whole", folder)


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    folder = train(linear_run(), out=tmp_path / "run", quiet=True).folder
    other = train(linear_run(model=models.part("mlp", width=9)), out=tmp_path / "other", quiet=True).folder
    for path in (folder / "checkpoints").iterdir():
        shutil.copy(other / "checkpoints" / path.name, path)
    with pytest.raises(
        CheckpointError,
        match=r"step-000000012.safetensors holds '.*' as float32 \(9, 2\), but in this run it is float32 \(6, 2\)",
    ):
        resume(folder, quiet=True)


def test_a_checkpoint_that_training_cannot_go_on_from_costs_one_interval(tmp_path: Path) -> None:
    train(linear_run(), out=tmp_path / "whole", quiet=True)
    folder = train(linear_run(), out=tmp_path / "run", quiet=True).folder
    tensors, meta = load_tensors(newest(folder))
    name = next(name for name in tensors if name.endswith("exp_avg"))
    save_tensors(newest(folder), tensors | {name: torch.zeros(7)}, meta)
    resume(folder, quiet=True)
    assert_same_bits(tmp_path / "whole", folder)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    folder = train(linear_run(iterations=1, optimizer="SGD"), out=tmp_path / "run", quiet=True).folder
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError):
            load_tensors(path)


def test_files_of_a_newer_version_say_so(tmp_path: Path) -> None:
    run = train(linear_run(), out=tmp_path / "run", quiet=True)
    for path in (newest(run.folder), run.folder / "model.safetensors"):
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
        tensors, _ = load_tensors(path)
        save_file(tensors, path, header | {"quickstudy_format": "2"})
        with pytest.raises(CheckpointError, match=r"newer quickstudy.*pip install --upgrade"):
            load_tensors(path)
    with pytest.raises(CheckpointError, match="newer quickstudy"):
        _ = Run(run.folder).params


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    run = train(linear_run(), out=tmp_path / "run", quiet=True)
    for path in (*(run.folder / "checkpoints").iterdir(), run.folder / "model.safetensors"):
        path.write_bytes(pickle.dumps({"params": [1.0, 2.0]}))
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load_tensors(path)
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        resume(run.folder, quiet=True)


def test_no_code_can_unpickle() -> None:
    root = Path(quickstudy.__file__).parent
    between = root / "workers" / "calls.py"  # what processes of one program send each other, never a file
    for path in {*root.rglob("*.py")} - {between}:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [*(alias.name for alias in node.names), getattr(node, "module", None) or ""]
                names = [] if names == ["Pickler", "pickle"] else names  # which writes only
            elif isinstance(node, ast.Call):
                names = [ast.unparse(node.func)]
                if "allow_pickle=False" in map(ast.unparse, node.keywords):
                    names = [name for name in names if name not in {"np.load", "numpy.load"}]
            assert not {"pickle", "torch.load", "np.load", "numpy.load", "joblib.load"} & set(names), path

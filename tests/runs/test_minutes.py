"""Training that is given minutes, not steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_runs import linear_run, newest

from quickstudy.errors import ConfigError
from quickstudy.runs.train import resume, train
from quickstudy.storage.tensors import load_tensors
from quickstudy.training.loop import Training


def test_it_ends_in_time_and_goes_on_to_the_same_parameters(tmp_path: Path) -> None:
    config = linear_run(iterations=40, schedule="CosineAnnealingLR")
    train(config, out=tmp_path / "whole", quiet=True)
    run = train(config, out=tmp_path / "short", quiet=True, minutes=1e-6)
    assert run.kept["step"] == 1
    assert run.seconds is not None
    assert run.seconds > 0
    again = resume(tmp_path / "short", quiet=True, minutes=1e-6)
    assert again.kept["step"] == 1, "its time was over before it began"
    resume(tmp_path / "short", quiet=True)
    whole, short = (load_tensors(newest(tmp_path / name))[0] for name in ("whole", "short"))
    del whole["random.cpu"], short["random.cpu"]  # of the process, not of the run
    assert whole.keys() == short.keys()
    assert all(torch.equal(whole[name], short[name]) for name in whole)


def test_time_that_is_over_while_a_checkpoint_is_written_ends_with_a_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Training._save

    def slow(training: Training) -> None:
        save(training)
        training.seconds += 100

    monkeypatch.setattr(Training, "_save", slow)
    run = train(linear_run(iterations=40, checkpoint_every=1), out=tmp_path / "run", quiet=True, minutes=1)
    assert run.kept["step"] < 40


def test_no_time_is_no_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than 0 minutes"):
        train(linear_run(), out=tmp_path / "run", quiet=True, minutes=0)
    assert not (tmp_path / "run").exists()

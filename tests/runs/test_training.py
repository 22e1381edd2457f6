"""Training: what is kept, what is written, what is refused, and that it learns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import blobs, class_run, linear_run, newest

from quickstudy.engine.distribute import Group
from quickstudy.entries import prefixed
from quickstudy.errors import DataError, ProcessLost, QuickstudyError, RunError, TrainingError
from quickstudy.registry import learners, models, sources
from quickstudy.runs.run import Run
from quickstudy.runs.train import train
from quickstudy.storage.tensors import load_tensors
from quickstudy.tasks.linear import LinearSource
from quickstudy.training.build import build, initial_params
from quickstudy.training.loop import Training
from quickstudy.training.outer import Outer


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(linear_run(), out=tmp_path_factory.mktemp("linear") / "run", quiet=True)


def test_metrics_have_a_line_for_every_interval(linear: Run) -> None:
    lines = [json.loads(line) for line in (linear.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == linear.metrics
    assert [line["step"] for line in lines if line["split"] == "train"] == [2, 4, 6, 8, 10, 12]
    assert [line["step"] for line in lines if line["split"] == "val"] == [4, 8, 12]
    for line in lines:
        assert 0 <= line["accuracy"] <= 1 and line["seconds"] > 0
    assert all(line["loss"] > 0 and line["lr"] == 0.01 and line["episodes_per_second"] > 0 for line in lines[:2])


def test_tensorboard_shows_the_same_numbers(linear: Run) -> None:
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = board.EventAccumulator(str(linear.folder / "tensorboard"))
    events.Reload()
    shown = {e.step: e.value for e in events.Scalars("train/loss")}
    assert shown == pytest.approx({line["step"]: line["loss"] for line in linear.metrics if line["split"] == "train"})
    assert [e.step for e in events.Scalars("val/accuracy")] == [4, 8, 12]


def test_two_newest_checkpoints_are_kept(linear: Run) -> None:
    names = sorted(path.name for path in (linear.folder / "checkpoints").iterdir())
    assert names == ["step-000000009.safetensors", "step-000000012.safetensors"]


@pytest.mark.parametrize(
    ("changes", "step"), [({"learner": learners.part("maml", lr=1e30)}, 0), ({"lr": 1e30, "optimizer": "SGD"}, 1)]
)
def test_loss_that_is_not_finite_stops_with_advice(changes: dict[str, Any], step: int, tmp_path: Path) -> None:
    config = linear_run(seed=3, **changes)
    with pytest.raises(TrainingError, match=r"not finite.*φ from before this step is saved") as caught:
        train(config, out=tmp_path / "run", quiet=True)
    text = str(caught.value)
    for part in (f"seed 3, step {step}", f"--lr, now {config.lr:g}", "--learner.lr", "--clip"):
        assert part in text
    episode = int(text.split("torch.tensor([")[1].split("]")[0])
    assert episode // config.meta_batch == step
    tensors, facts = load_tensors(newest(tmp_path / "run"))
    saved = prefixed("params.", tensors)
    assert facts["step"] == step
    assert all(bool(torch.isfinite(value).all()) for value in saved.values())
    before = initial_params(build(config), config)
    assert all(torch.equal(saved[name], value) for name, value in before.items()) == (step == 0)


def saved_phi(folder: Path) -> tuple[int, dict[str, Any]]:
    tensors, facts = load_tensors(newest(folder))
    return facts["step"], prefixed("params.", tensors)


@dataclass(frozen=True, kw_only=True)
class Fails(LinearSource):
    """Until the training tasks of step 3, of two each, it gives what it should."""

    def episodes(self, split: str, indices: torch.Tensor) -> Any:
        if split == "train" and int(indices[0]) >= 6:
            raise DataError("The file of task 6 is gone.")
        return super().episodes(split, indices)


def test_what_was_trained_before_data_fail_is_saved(tmp_path: Path) -> None:
    config = linear_run(checkpoint_every=100)
    whole = train(replace(config, iterations=3), out=tmp_path / "whole", quiet=True)
    with pytest.raises(DataError, match="task 6 is gone"):
        train(config, source=Fails(dimensions=2, spec=build(config).source.spec), out=tmp_path / "run", quiet=True)
    step, phi = saved_phi(tmp_path / "run")
    assert step == 3 and all(torch.equal(value, phi[name]) for name, value in saved_phi(whole.folder)[1].items())


@dataclass(frozen=True)
class Left(Group):
    """Loses another process in the fourth exchange: the second part of step 1."""

    exchanges: list[int] = field(default_factory=list)

    def mean(self, *given: Any) -> Any:
        self.exchanges.append(0)
        if len(self.exchanges) == 4:
            raise ProcessLost("The other one ended.")
        return super().mean(*given)


def test_phi_from_within_a_step_is_never_saved_as_that_of_one(tmp_path: Path) -> None:
    config = linear_run(parts=2, checkpoint_every=1)
    whole = train(replace(config, iterations=1), out=tmp_path / "whole", quiet=True)
    (tmp_path / "run").mkdir()
    training = Training(build(config), config, tmp_path / "run", lambda *_: None, Left())
    with pytest.raises(ProcessLost):
        training.run(quiet=True)
    step, phi = saved_phi(tmp_path / "run")
    assert step == 1 and all(torch.equal(value, phi[name]) for name, value in saved_phi(whole.folder)[1].items())


def test_best_validation_is_kept(tmp_path: Path) -> None:
    """A rate that first learns and then destroys: the schedule raises it a thousandfold."""
    config = class_run(
        "protonet",
        iterations=40,
        validate_every=10,
        validation_episodes=30,
        lr=3e-3,
        schedule="StepLR",
        schedule_options={"step_size": 20, "gamma": 3000.0},
    )
    run = train(config, out=tmp_path / "run", source=blobs(noise=1.0), quiet=True)
    validations = {line["step"]: line["accuracy"] for line in run.metrics if line["split"] == "val"}
    assert max(validations[10], validations[20]) > max(validations[30], validations[40])
    assert run.kept["step"] == max(validations, key=lambda step: validations[step]) <= 20
    assert run.evaluate(split="val", episodes=30).mean == pytest.approx(run.kept["validation"])


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "NAdam", "Adagrad", "Adafactor"])
def test_any_optimizer_by_name(name: str, tmp_path: Path) -> None:
    run = train(linear_run(optimizer=name, iterations=2, validate_every=2), out=tmp_path / "run", quiet=True)
    assert type(Outer(run.params, run.config.outer).optimizer).__name__ == name


@pytest.mark.parametrize(
    ("schedule", "options", "rates"),
    [
        ("StepLR", {"step_size": 1, "gamma": 0.5}, [0.005, 0.0025, 0.00125, 0.000625]),
        ("CosineAnnealingLR", {}, [0.01 * 0.8535534, 0.005, 0.01 * 0.1464466, 0.0]),
        ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 4}, [0.0075, 0.005, 0.0025, 0.0]),
        ("none", {}, [0.01] * 4),
    ],
)
def test_schedules_by_name(schedule: str, options: dict[str, Any], rates: list[float], tmp_path: Path) -> None:
    config = linear_run(schedule=schedule, schedule_options=options, iterations=4, log_every=1, validate_every=4)
    run = train(config, out=tmp_path / "run", quiet=True)
    assert [line["lr"] for line in run.metrics if line["split"] == "train"] == pytest.approx(rates)


def test_bound_on_the_meta_gradient() -> None:
    config = linear_run(optimizer="SGD", lr=1.0, clip=0.5)
    for size, moved in ((3.0, 0.5), (0.3, 0.3)):
        outer = Outer({"param.w": torch.zeros(4)}, config.outer)
        grads = {"param.w": torch.full((4,), size / 2)}
        outer.step(grads, torch.nn.utils.get_total_norm(grads.values()))
        assert float(outer.params["param.w"].norm()) == pytest.approx(moved)


def test_moving_average_is_what_is_validated() -> None:
    outer = Outer({"param.w": torch.zeros(1)}, linear_run(optimizer="SGD", lr=1.0, average=0.75).outer)
    for _ in range(2):
        outer.step({"param.w": torch.tensor([-1.0])}, torch.tensor(1.0))
    assert float(outer.params["param.w"]) == 2.0
    assert float(outer.average["param.w"]) == pytest.approx(0.25 * 2 + 0.75 * 0.25)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer": "Adamm"}, "Did you mean 'Adam'"),
        ({"optimizer": "LBFGS"}, "no optimizer in torch.optim called 'LBFGS'"),
        ({"optimizer": "Muon", "optimizer_options": {"momentum": 1.5}}, "momentum must lie in"),
        ({"optimizer_options": {"weight_decy": 0.1}}, "'weight_decy'. Did you mean 'weight_decay'"),
        ({"optimizer_options": {"betas": (0.9, 1.5)}}, "Invalid beta"),
        ({"schedule": "CosineAnealingLR"}, "Did you mean 'CosineAnnealingLR'"),
        ({"schedule": "ReduceLROnPlateau"}, "no schedule"),
        ({"schedule": "StepLR"}, "step_size"),
        ({"schedule": "StepLR", "schedule_options": {"step_siz": 3}}, "Did you mean 'step_size'"),
        ({"metagrad": "unroled"}, "Did you mean 'unrolled'"),
        ({"device": "cuda:99"}, "'cuda:99' was asked for, but PyTorch sees"),
        ({"device": "gpu"}, "'gpu' is not a device"),
        ({"ways": 3}, "2-way"),
        ({"learner": learners.part("simpleshot")}, "trains on all classes at once, but 'linear' makes up"),
        ({"tasks": sources.part("glyphs"), "train_ways": 5}, "head of 2 outputs and cannot train on 5-way"),
        ({"model": models.part("conv4")}, "conv4"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(QuickstudyError) as caught:
        train(linear_run(**changes), out=tmp_path / "run", quiet=True)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_data_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'val' has 4"):
        train(class_run("protonet", ways=5), out=tmp_path / "run", source=blobs(), quiet=True)
    with pytest.raises(DataError, match="13 shots|has 12 examples"):
        train(class_run("protonet", shots=8), out=tmp_path / "run", source=blobs(), quiet=True)
    assert not (tmp_path / "run").exists()


def test_folders_are_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = linear_run(iterations=1)
    assert [train(config, quiet=True).folder.as_posix() for _ in range(3)] == [
        "runs/small",
        "runs/small-2",
        "runs/small-3",
    ]
    with pytest.raises(RunError, match=r"--out.*--resume runs/small.*--overwrite"):
        train(config, out="runs/small", quiet=True)
    assert train(replace(config, seed=5), out="runs/small", overwrite=True, quiet=True).config.seed == 5
    Path("runs/small/notes.txt").write_text("mine")
    Path("runs/small/checkpoints/notes.txt").write_text("mine")
    train(replace(config, seed=6), out="runs/small", overwrite=True, quiet=True)
    assert Path("runs/small/notes.txt").read_text() == Path("runs/small/checkpoints/notes.txt").read_text() == "mine"
    Path("other").mkdir()
    for settings in ('{"name": "a web page", "model": {}}', "[1]", "{"):
        Path("other/config.json").write_text(settings)
        with pytest.raises(RunError, match="not a run, so it is not overwritten"):
            train(config, out="other", overwrite=True, quiet=True)
        assert Path("other/config.json").read_text() == settings
    Path("mine").mkdir()
    Path("mine", "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not a run, so it is not overwritten"):
        train(config, out="mine", overwrite=True, quiet=True)
    with pytest.raises(RunError, match="a file is in its way"):
        train(config, out="mine/thesis.txt/run", quiet=True)
    assert Path("mine", "thesis.txt").read_text() == "years of work"

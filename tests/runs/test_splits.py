"""What is held out stays held out: when the data grow, and where validation classes are training classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import blobs, class_run

from quickstudy.errors import DataError
from quickstudy.registry import learners, models, sources
from quickstudy.report.sections import header, learning_curve
from quickstudy.runs.run import Run
from quickstudy.runs.train import resume, train
from quickstudy.storage.json import read_json
from quickstudy.storage.tensors import load_tensors, save_tensors
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.glyphs import glyphs
from quickstudy.training.config import RunConfig


def write_classes(root: Path, names: Iterable[str]) -> None:
    generator = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")


def photos(root: Path) -> RunConfig:
    return RunConfig(
        name="photos",
        tasks=sources.part("folder", root=str(root), size=8, channels=1),
        model=models.part("mlp", width=4),
        learner=learners.part("protonet"),
        ways=2,
        queries=2,
        iterations=2,
        validate_every=1,
        validation_episodes=2,
        device="cpu",
    )


def on_training_classes() -> ClassSource:
    """Classes of which validation takes some that are trained on."""
    source = blobs(noise=1.0)
    return replace(source, splits={**source.splits, "val": source.splits["train"][:4]})


def test_a_class_added_later_leaks_nothing(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write_classes(root, (f"kind{i:02d}" for i in range(10)))
    run = train(photos(root), out=tmp_path / "run", quiet=True)
    trained_on = read_json(run.folder / "splits.json")["train"]
    assert Run(run.folder).evaluate(episodes=2).episodes == 2
    write_classes(root, ["a new one", "another", "one more"])
    today = Run(run.folder)
    with pytest.raises(
        DataError, match=r"is in '(val|test)' today, but the run .*trained on it.*sub-folders"
    ) as caught:
        today.evaluate(episodes=2)
    assert any(repr(name) in str(caught.value) for name in trained_on)
    assert today.adapt(torch.rand(4, 1, 8, 8), ["x", "x", "y", "y"]).names == ("x", "y"), "needs no training data"


def test_resuming_with_other_training_classes(tmp_path: Path) -> None:
    source = blobs()
    run = train(class_run("protonet"), out=tmp_path / "run", source=source, quiet=True)
    fewer = replace(source, splits={**source.splits, "train": source.splits["train"][1:]})
    with pytest.raises(DataError, match=r"not those that the run .* began with"):
        resume(run.folder, source=fewer, quiet=True)


def test_which_sources_name_their_classes() -> None:
    source = blobs()
    assert sorted(source.classes("train") + source.classes("val") + source.classes("test"), key=int) == [
        str(i) for i in range(20)
    ]
    assert glyphs().classes("train") == [], "classes that are made up cannot grow in number"


@pytest.mark.parametrize("held_out", [True, False])
def test_validation_on_training_classes_chooses_nothing_and_says_so(held_out: bool, tmp_path: Path) -> None:
    """A rate that first learns and then destroys: the best validation is not the last."""
    config = class_run(
        "protonet",
        iterations=40,
        validate_every=10,
        validation_episodes=30,
        lr=3e-3,
        schedule="StepLR",
        schedule_options={"step_size": 20, "gamma": 3000.0},
    )
    source = blobs(noise=1.0) if held_out else on_training_classes()
    run = train(config, out=tmp_path / "run", source=source, quiet=True)
    assert run.kept["held_out"] is held_out
    assert (run.kept["step"] == 40) is not held_out
    notes = {line.get("note") for line in run.metrics if line["split"] == "val"}
    assert notes == ({None} if held_out else {"on training classes"})
    said = learning_curve(run).text
    assert ("on training classes" in said) is not held_out and ("did best" in said) is held_out


def test_closing_line_and_header_say_what_validation_was(tmp_path: Path, capsys: Any) -> None:
    config = class_run("protonet", iterations=2, validate_every=1)
    run = train(config, out=tmp_path / "run", source=on_training_classes(), quiet=True)
    from quickstudy.cli.train_command import _finish
    from quickstudy.report.sections import Headline

    assert _finish(run, report=False) == 0
    assert "kept the model of step 2, the last: validation was on training classes" in capsys.readouterr().out
    result = run.evaluate(episodes=2)
    assert "validation was on training classes" in header(run, Headline(result, result))


def test_kept_model_says_where_it_was_trained(tmp_path: Path) -> None:
    run = train(class_run("protonet", iterations=1), out=tmp_path / "run", source=blobs(), quiet=True)
    result = run.evaluate(episodes=2)
    assert (run.kept["commit"], run.kept["machine"]) == (result.commit, result.machine)


def test_model_of_another_kind(tmp_path: Path) -> None:
    run = train(class_run("protonet", iterations=1), out=tmp_path / "run", source=blobs(), quiet=True)
    tensors, meta = load_tensors(run.folder / "model.safetensors")
    save_tensors(run.folder / "model.safetensors", tensors, meta | {"kind": "adapted model"})
    with pytest.raises(Exception, match="of the kind 'adapted model', expected 'run'"):
        _ = Run(run.folder).kept

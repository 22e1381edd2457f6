"""What the commands do with unusual input: broken photos, regression, official runs, a missing extra, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path
from threading import Thread

import pytest
from new_user import Capture, accepted, photo, refused

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.runs.run import Run


def test_broken_photo_is_named_and_can_be_left_out(there: Path, tmp_path: Path, capsys: Capture) -> None:
    support = shutil.copytree(there / "new-classes", tmp_path / "support")
    (support / "kind20" / "torn.png").write_bytes((support / "kind20" / "0.png").read_bytes()[:80])
    out = tmp_path / "model"
    error = refused(f"adapt mine --support {support} --out {out}", capsys)
    assert f"{support}/kind20/torn.png cannot be read as an image" in error
    assert not out.exists()
    assert main(["adapt", "mine", "--support", str(support), "--out", str(out), "--broken", "skip"]) == 0
    assert "1 unreadable images left out" in capsys.readouterr().err
    assert "already holds a model" in refused(f"adapt mine --support {support} --out {out}", capsys)
    torn = support / "kind20" / "torn.png"
    assert "torn.png cannot be read" in refused(f"predict {out} {torn} {there}/unsorted", capsys)
    assert main(["predict", str(out), str(torn), str(there / "unsorted"), "--broken", "skip"]) == 0
    shown = capsys.readouterr()
    assert "1 unreadable images left out" in shown.err
    assert len([line for line in shown.out.splitlines() if ".png" in line]) == 6


def test_regression_shows_what_steps_are_worth(there: Path, tmp_path: Path, capsys: Capture) -> None:
    short = "--iterations 2 --validate-every 2 --validation-episodes 5 --meta-batch 2 --no-report"
    accepted(f"train sinusoid-maml {short} --out {tmp_path}/run", capsys)
    text = accepted(f"evaluate {tmp_path}/run --episodes 10 --out {tmp_path}/result.json", capsys)
    results = json.loads((tmp_path / "result.json").read_text())
    assert [r["steps"] for r in results] == [0, 1, 5, 10]
    assert all(f"5-shot, {steps} inner steps" in text for steps in (0, 1, 5, 10))
    assert "always the mean" in text and "guessing" not in text
    said = refused(f"adapt {tmp_path}/run --support photos --out {tmp_path}/model", capsys)
    assert "arrays" in said and "photos" in said


def test_official_one_shot_runs(there: Path, tmp_path: Path, capsys: Capture) -> None:
    """The test image of each class is its training image, so that the error must be zero."""
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as archive:
        for run in ("run01", "run02"):
            lines = []
            for n in range(4):
                file = BytesIO()
                photo(50 + n, int(run[-1])).save(file, "PNG")
                for name in (f"{run}/training/class{n}.png", f"{run}/test/item{3 - n}.png"):
                    archive.writestr(name, file.getvalue())
                lines.append(f"{run}/test/item{3 - n}.png {run}/training/class{n}.png\n")
            archive.writestr(f"{run}/class_labels.txt", "".join(lines))
    text = accepted(f"evaluate mine --omniglot-runs {tmp_path}/runs.zip --out {tmp_path}/errors.json", capsys)
    assert "Mean error over 2 runs: 0.0 ± 0.0 %" in text
    stored = json.loads((tmp_path / "errors.json").read_text())
    assert (stored["runs"], stored["values"], stored["transductive"]) == (["run01", "run02"], [1.0, 1.0], False)
    assert "no file" in refused(f"evaluate mine --omniglot-runs {tmp_path}/none.zip", capsys)


def test_run_with_a_damaged_model_does_not_hide_the_others(there: Path, capsys: Capture) -> None:
    shutil.copytree(there / "runs" / "mine", there / "runs" / "hurt")
    with (there / "runs" / "hurt" / "model.safetensors").open("r+b") as file:
        file.truncate(300)
    text = accepted("list runs", capsys)
    shutil.rmtree(there / "runs" / "hurt")
    assert re.search(r"^hurt +protonet +folder +model damaged", text, re.M) and re.search(
        r"^mine +protonet", text, re.M
    )


def test_training_without_the_report_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train", "linear-maml", "--iterations=1", "--validation-episodes=3", "--out", f"{tmp_path}/run"]) == 0
    shown = capsys.readouterr()
    assert f"Run: {tmp_path}/run" in shown.out
    assert "pip install 'quickstudy[report]'" in shown.err


LONG = """
from dataclasses import replace
import quickstudy


def recipe():
    return replace(quickstudy.recipes.linear_maml(), name="long", iterations=10**6, checkpoint_every=2, meta_batch=1)
"""


def test_ctrl_c_says_how_to_go_on_in_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long_recipe.py").write_text(LONG)

    def press_once_it_trains() -> None:
        for _ in range(3000):
            if list(tmp_path.glob("runs/long/checkpoints/step-*")):
                return os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    Thread(target=press_once_it_trains, daemon=True).start()
    assert main(["reproduce", "long_recipe"]) == 130
    shown = capsys.readouterr()
    assert re.search(r"saved after step \d+. Go on with: quickstudy train --resume runs/long", shown.out)
    assert "Traceback" not in shown.err and not (tmp_path / "results").exists()


def test_demo_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    text = accepted("demo --glyphs --iterations 2 --episodes 8", capsys)
    for part in (
        "1. Learning to learn",
        "on 8 tasks",
        "guessing           20.0 %",
        "30 characters learned in",
        "Report:",
    ):
        assert part in text
    run = Run("runs/demo-glyphs")
    assert run.config.iterations == 2
    assert (run.folder / "report.html").stat().st_size > 10_000
    assert len(qs.load(run.folder / "adapted-model").names) == 30


def test_a_model_grows_forgets_and_goes_back(there: Path, tmp_path: Path, capsys: Capture) -> None:
    whole, model = there / "new-classes", tmp_path / "model"
    first, more = tmp_path / "first", tmp_path / "more"
    for kind in ("kind20", "kind21"):
        shutil.copytree(whole / kind, first / kind)
    shutil.copytree(whole / "kind22", more / "kind22")
    accepted(f"adapt mine --support {first} --out {model}", capsys)
    text = accepted(f"adapt {model} --more {more}", capsys)
    assert "Learned 3 classes from 6 images" in text and "Classes added: kind22" in text
    assert "On the 4 examples that it knew, each held out in turn, accuracy:" in text
    assert f"To go back: quickstudy adapt {model} --undo" in text
    accepted(f"adapt mine --support {whole} --out {tmp_path}/whole", capsys)
    both = [qs.load(folder, device="cpu") for folder in (model, tmp_path / "whole")]
    asked = sorted((there / "unsorted").glob("*.png"))
    one, other = (loaded.predict(asked).probabilities for loaded in both)
    assert both[0].names == both[1].names and abs(float((one - other).abs().max())) < 1e-6

    text = accepted(f"adapt {model} --without kind20", capsys)
    assert "Learned 2 classes from 4 images" in text and "Classes gone: kind20" in text
    assert "would be left" in refused(f"adapt {model} --without kind21", capsys)
    assert "Versions before it: 1" in accepted(f"adapt {model} --undo", capsys)
    assert qs.load(model, device="cpu").names == ("kind20", "kind21", "kind22")
    accepted(f"adapt {model} --undo", capsys)
    assert qs.load(model, device="cpu").names == ("kind20", "kind21")
    assert "nothing to undo" in refused(f"adapt {model} --undo", capsys)
    accepted(f"adapt {model} --more {more} --out {tmp_path}/beside --no-keep", capsys)
    assert len(qs.load(model, device="cpu").names) == 2 and qs.load(tmp_path / "beside", device="cpu").kept is None
    accepted(f"adapt {tmp_path}/beside --without kind20", capsys)


def test_what_is_asked_of_a_run_and_what_of_a_model(there: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "--out FOLDER" in refused("adapt mine --support new-classes", capsys)
    assert "is a run, which has learned how to learn" in refused("adapt runs/mine --more new-classes", capsys)
    assert "There is no adapted model in nothing" in refused("adapt nothing --undo", capsys)
    accepted(f"adapt mine --support new-classes --out {tmp_path}/m", capsys)
    assert "is an adapted model already" in refused(f"adapt {tmp_path}/m --support new-classes --out x", capsys)
    assert "--support is of a run" in refused(f"adapt {tmp_path}/m --support new-classes --more unsorted", capsys)
    assert "Leave the other options out" in refused(f"adapt {tmp_path}/m --undo --without kind20", capsys)
    assert "no class of this model called 'kind2'" in refused(f"adapt {tmp_path}/m --without kind2", capsys)
    wrong = tmp_path / "wrong"
    for kind in ("kind20", "kind22"):
        for i in range(5):
            shutil.copytree(there / "new-classes" / kind, wrong / "kind21" / f"{kind}-{i}")
    error = refused(f"adapt {tmp_path}/m --more {wrong} --if-worse refuse", capsys)
    assert "Nothing was changed" in error and qs.load(tmp_path / "m", device="cpu").count == 6
    assert "already holds a model" in refused(f"adapt {tmp_path}/m --without kind20 --out {tmp_path}/m", capsys)

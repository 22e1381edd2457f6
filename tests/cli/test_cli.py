"""Commands called in this process: what they print, and how they answer mistakes."""

from __future__ import annotations

import json
import re
import shutil
import sys
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from conftest import photo

from quickstudy import __version__, registry
from quickstudy.cli import COMMANDS, main
from quickstudy.cli.parse import parse
from quickstudy.cli.settings import Settings
from quickstudy.train.run import Run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def there(home: Path, photo_run: CompletedProcess[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the new user's folder, after training."""
    assert photo_run.returncode == 0, photo_run.stderr
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "200")
    return home


def refused(line: str, capsys: Capture) -> str:
    """What is printed to stderr for a mistake in `line`, whose exit status must be 2."""
    capsys.readouterr()
    try:
        status: object = main(line.split())
    except SystemExit as stopped:
        status = stopped.code
    out, err = capsys.readouterr()
    assert status == 2, out + err
    assert "Traceback" not in err
    return re.sub(r"\s+", " ", err.replace("│", " "))


def accepted(line: str, capsys: Capture) -> str:
    capsys.readouterr()
    assert main(line.split()) == 0
    return capsys.readouterr().out


def test_help_names_every_command(capsys: Capture) -> None:
    for line in ("", "--help", "help"):
        text = accepted(line, capsys)
        assert all(re.search(rf"^  {name}\s+{re.escape(what)}$", text, re.M) for name, what in COMMANDS.items())
    assert accepted("--version", capsys) == f"quickstudy {__version__}\n"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])
def test_each_command_has_help(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: quickstudy {command}" in capsys.readouterr().out


def test_help_of_a_recipe_shows_its_numbers(capsys: Capture) -> None:
    assert "--resume" in accepted("train --help", capsys)
    with pytest.raises(SystemExit):
        main(["train", "sinusoid-maml", "--help"])
    text = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for shown in (
        "--iterations INT Outer steps. (default: 70000)",
        "--learner.lr FLOAT (default: 0.01)",
        "--model.width",
    ):
        assert shown in text


@pytest.mark.parametrize("kind", ["recipes", "learners", "models", "tasks"])
def test_lists(kind: str, capsys: Capture) -> None:
    known = {"tasks": registry.sources}.get(kind) or getattr(registry, kind)
    assert accepted(f"list {kind} --plain", capsys).split() == list(known)
    described = accepted(f"list {kind}", capsys)
    assert all(name in described and known.summary(name)[:40] in described for name in known)


@pytest.mark.parametrize("name", registry.recipes)
def test_options_that_are_not_given_change_nothing(name: str) -> None:
    config = registry.recipes[name]()
    settings = Settings.of(config)
    again = settings.apply(parse(settings.kind, "train", []))
    assert json.dumps(again.to_json()) == json.dumps(config.to_json())
    changed = settings.apply(parse(settings.kind, "train", ["--iterations", "7", "--lr", "0.5", "--clip", "3"]))
    assert changed.to_json() == replace(config, iterations=7, lr=0.5, clip=3.0).to_json()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian linear-maml", "no command called 'trian'. Did you mean 'train'"),
        ("train liner-maml", "no recipe called 'liner-maml'. Did you mean 'linear-maml'"),
        ("train linear-maml --iteration 3", "Perhaps you meant: --iterations"),
        ("train linear-maml --learner.stesp 3", "--learner.steps"),
        ("train linear-maml --iterations many", "--iterations"),
        ("train linear-maml --iterations 0", "iterations must be at least 1, found 0"),
        ("train linear-maml --learner mamll", "no learner called 'mamll'. Did you mean 'maml'"),
        ("train linear-maml --tasks linaer", "no task source called 'linaer'. Did you mean 'linear'"),
        ("train linear-maml --model", "--model needs a name after it"),
        ("train linear-maml --optimizer Adm", "Did you mean 'Adam'"),
        ("train linear-maml --device cuda:77", "PyTorch sees"),
        ("train --iterations 3", "A recipe comes first"),
        ("train my_recipe --tasks folder --ways 3", "--tasks.root"),
        ("train my_recipe --tasks folder --tasks.root ./fotos", "no folder fotos"),
        ("train my_recipe --tasks folder --tasks.root ./photos --ways 9", "9-way tasks need 9 classes"),
        ("train my_recipe --out runs/mine", "--resume runs/mine"),
        ("train --resume mime", "no run called 'mime'. Did you mean 'mine"),
        ("evaluate mime", "Did you mean 'mine"),
        ("evaluate mine --split tset", "Did you mean 'test'"),
        ("evaluate mine --episodes 1", "at least 2"),
        ("evaluate mine --steps 3", "does not adapt in steps"),
        ("evaluate mine --ways 0", "ways"),
        ("adapt mine --support ./nowhere --out ./m", "no folder nowhere"),
        ("adapt mine --support ./unsorted --out ./m", "has no sub-folders"),
        ("predict ./photos ./unsorted", "There is no photos/model.json"),
        ("list recepies", "recipes"),
        ("reproduce mine", "no recipe called 'mine'"),
    ],
)
def test_mistakes_are_answered(line: str, said: str, there: Path, capsys: Capture) -> None:
    before = sorted(there.glob("*")) + sorted(there.glob("runs/*"))
    assert said in refused(line, capsys)
    assert sorted(there.glob("*")) + sorted(there.glob("runs/*")) == before, "something was left behind"


def test_recipe_file_without_a_recipe(there: Path, capsys: Capture) -> None:
    (there / "empty_recipe.py").write_text("x = 3\n")
    assert "has no function recipe()" in refused("train empty_recipe", capsys)


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
    assert "guessing" not in text
    assert "not trained on images" in refused(f"adapt {tmp_path}/run --support photos --out {tmp_path}/model", capsys)


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
    assert "Mean error over 2 runs: 0.0 %" in text
    assert json.loads((tmp_path / "errors.json").read_text()) == {"errors": {"run01": 0, "run02": 0}, "mean": 0}
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


def test_demo_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    text = accepted("demo --glyphs --iterations 2 --episodes 8", capsys)
    for part in (
        "1. Learning to learn",
        "on 8 tasks",
        "guessing           20.0 %",
        "20 characters learned in",
        "Report:",
    ):
        assert part in text
    run = Run("runs/demo-glyphs")
    assert run.config.iterations == 2
    assert (run.folder / "report.html").stat().st_size > 10_000
    assert len(json.loads((run.folder / "adapted-model" / "model.json").read_text())["classes"]) == 20

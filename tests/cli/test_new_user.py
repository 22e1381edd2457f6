"""From a folder of photos to predictions, as a new user does it: real commands in a folder of their own."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from new_user import Command

Done = CompletedProcess[str]


@pytest.fixture(scope="module")
def model(quickstudy: Command, photo_run: Done) -> Done:
    assert photo_run.returncode == 0, photo_run.stderr
    return quickstudy("adapt mine --support ./new-classes --out ./my-model")


def test_training_own_recipe_on_own_photos(photo_run: Done, home: Path) -> None:
    assert photo_run.returncode == 0, photo_run.stderr
    assert "Trained mine in" in photo_run.stdout
    assert "Next: quickstudy evaluate runs/mine" in photo_run.stdout
    assert "train_ways of the recipe were chosen for its own tasks" in photo_run.stderr
    assert "96 of 96 images resized from 24x24 to 16x16" in photo_run.stderr
    config = json.loads((home / "runs" / "mine" / "config.json").read_text())
    assert (config["ways"], config["train_ways"]) == (3, None)
    assert config["tasks"]["name"] == "folder" and config["tasks"]["options"]["root"] == str(home / "photos")
    assert not (home / "runs" / "mine" / "report.html").exists()


def test_evaluating_with_other_sizes(quickstudy: Command, photo_run: Done, home: Path) -> None:
    done = quickstudy("evaluate mine --ways 2 --shots 3 --episodes 40 --untrained --out numbers/result.json")
    assert done.returncode == 0, done.stderr
    trained, untrained = json.loads((home / "numbers" / "result.json").read_text())
    assert (trained["network"], untrained["network"]) == ("trained", "untrained")
    assert (trained["ways"], trained["shots"], trained["queries"], len(trained["values"])) == (2, 3, 2, 40)
    assert trained["mean"] - trained["ci95"] > 0.5
    assert f"{100 * trained['mean']:.1f} ± {100 * trained['ci95']:.1f} %" in done.stdout
    assert "guessing" in done.stdout and "50.0 ± 0.0 %" in done.stdout


def test_learning_new_classes_and_naming_photos(quickstudy: Command, model: Done, home: Path) -> None:
    assert model.returncode == 0, model.stderr
    assert "Learned 3 classes from 6 images in" in model.stdout
    proposed = re.search(r"^Next, for images that it was not shown: quickstudy (.+)$", model.stdout, re.M)
    assert proposed is not None and quickstudy(proposed[1]).returncode == 0
    done = quickstudy("predict ./my-model ./unsorted/*.png --out predictions.csv")
    assert done.returncode == 0, done.stderr
    assert "Wrote 6 predictions" in done.stdout
    rows = list(csv.DictReader((home / "predictions.csv").open()))
    names = ["kind20", "kind21", "kind22"]
    assert list(rows[0]) == ["file", "class", "probability", "known", *(f"p({name})" for name in names)]
    for row in rows:
        shares = [float(row[f"p({name})"]) for name in names]
        assert sum(shares) == pytest.approx(1, abs=2e-4)
        assert float(row["probability"]) == max(shares)
        assert row["class"] == names[shares.index(max(shares))]
    assert [row["class"] for row in rows] == [Path(row["file"]).name.partition("-")[0] for row in rows]


def test_second_run_gets_a_number_and_both_are_listed(quickstudy: Command, photo_run: Done) -> None:
    done = quickstudy("train my_recipe.py --iterations 2 --validate-every 1 --validation-episodes 3 --no-report")
    assert done.returncode == 0, done.stderr
    assert "Run: runs/mine-2" in done.stdout
    done = quickstudy("list runs")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[1:]}
    assert rows["mine"][:2] == ["protonet", "folder"]
    assert rows["mine-2"][:2] == ["protonet", "glyphs"]
    assert rows["mine-2"][-1] in ("1", "2"), "the step that was kept"

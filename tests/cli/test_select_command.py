"""`quickstudy select`: measured, kept, loaded, asked."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from select_scenarios import made_up, write

from quickstudy.cli import main
from quickstudy.registry import selectors
from quickstudy.select import fit, measure

pytest.importorskip("sklearn")
pytest.importorskip("yaml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(made_up(), tmp_path / "scenario")


def test_selectors_are_measured_over_official_folds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", "scenario", "--selectors", "single-best", "neighbours", "--out", "found.json"]) == 0
    said = capsys.readouterr().out
    assert "60 instances, 3 algorithms, stopped after 100 s" in said and "over 5 folds" in said
    assert "These algorithms finish nothing, and are never preferred: never." in said
    found = json.loads(Path("found.json").read_text())
    assert [one["selector"] for one in found] == ["single-best", "neighbours"]
    assert found[0]["npar10"]["mean"] == 1
    assert found[1]["npar10"]["mean"] == measure(selectors.part("neighbours"), made_up()).npar10.mean


def test_a_kept_selector_chooses_for_new_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = ["--selectors", "per-algorithm", "--options", "trees", "5", "--presolve", "2", "--keep", "mine.safetensors"]
    assert main(["select", "scenario", *kept]) == 0
    assert "Next: quickstudy select mine.safetensors --rows features.csv" in capsys.readouterr().out
    x = made_up(12, seed=3).x
    lines = [f"new {i},{','.join('' if np.isnan(v) else repr(float(v)) for v in row[::-1])}" for i, row in enumerate(x)]
    Path("new.csv").write_text("\n".join(["instance_id,noise,depth,size", *lines]))
    assert main(["select", "mine.safetensors", "--rows", "new.csv", "--out", "said.csv"]) == 0
    assert "First, on every instance" in capsys.readouterr().out
    with Path("said.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["instance_id"] for row in rows] == [f"new {i}" for i in range(12)]
    selection = fit(selectors.part("per-algorithm", trees=5), made_up(), presolve=2.0)
    assert [row["algorithm"] for row in rows] == selection.choose(x)
    assert main(["select", "mine.safetensors", "--rows", "scenario/feature_values.arff"]) == 0
    assert "… and 10 more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "There is no file nowhere"),
        (["."], "no scenario of ASlib"),
        (["scenario", "--selectors", "pairwse"], "no selector called 'pairwse'. Did you mean 'pairwise'"),
        (["scenario", "--options", "trees", "5"], "--options are of one selector"),
        (["scenario", "--selectors", "per-algorithm", "--options", "tres", "5"], "Did you mean 'trees'"),
        (["scenario", "--keep", "a.safetensors"], "Say which: --selectors NAME"),
        (["scenario", "--selectors", "single-best", "--keep", "a.pt"], "ends in .safetensors"),
        (["scenario", "--steps", "third"], "feature step of MADE-UP called 'third'"),
        (["scenario", "--selectors", "single-best", "--presolve", "1000"], "stopped after 100 s"),
        (["mine.safetensors", "--rows", "rows.csv"], "There is no mine.safetensors"),
        (
            ["scenario", "--selectors", "single-best", "--rows", "rows.csv"],
            "lacks the columns of 2 features: size, noise",
        ),
        (["scenario", "--selectors", "single-best", "--rows", "words.csv"], "line 2: 'size' is 'many'"),
        (["scenario", "--selectors", "single-best", "--rows", "short.csv"], "line 3: 2 cells, expected 3"),
        (["scenario", "--selectors", "single-best", "--rows", "empty.csv"], "has no rows"),
    ],
    ids=lambda one: " ".join(one)[:60] if isinstance(one, list) else "",
)
def test_what_is_wrong_is_said(folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rows.csv").write_text("depth\n1\n")
    Path("words.csv").write_text("size,depth,noise\nmany,1,1\n")
    Path("short.csv").write_text("size,depth,noise\n1,1,1\n1,1\n")
    Path("empty.csv").write_text("size,depth,noise\n")
    assert main(["select", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_plan_is_kept_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--selectors", "shared-forest", "--options", "trees", "20", "--plan", "--keep", "mine.safetensors"]
    assert main(["select", "scenario", *words]) == 0
    capsys.readouterr()
    x = made_up(5, seed=3).x
    lines = [f"new {i},{','.join('' if np.isnan(v) else repr(float(v)) for v in row)}" for i, row in enumerate(x)]
    Path("new.csv").write_text("\n".join(["instance_id,size,depth,noise", *lines]))
    assert main(["select", "mine.safetensors", "--rows", "new.csv", "--out", "said.csv"]) == 0
    selection = fit(selectors.part("shared-forest", trees=20), made_up(), plan=True)
    assert len(selection.turns) > 1 or selection.schedule
    said = capsys.readouterr().out
    assert ("one after another" in said) == (len(selection.turns) > 1)
    with Path("said.csv").open() as file:
        assert [row[1:] for row in csv.reader(file)][1:] == selection.takes_turns(x)
    assert main(["select", "scenario", "--selectors", "single-best", "--plan", "--presolve", "1"]) != 0
    assert "A plan finds its own presolvers" in capsys.readouterr().err

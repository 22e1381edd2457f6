"""Networks that keep a limit of milliseconds: timed, searched for, trained, reported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_supernet import config, images
from torch import nn

from quickstudy.cli import main
from quickstudy.errors import ConfigError, RunError
from quickstudy.registry import learners, models, recipes, sources
from quickstudy.runs.run import Run
from quickstudy.search import searching as steps
from quickstudy.search.architecture import resume, search
from quickstudy.search.found import Found
from quickstudy.search.page import report
from quickstudy.search.spaces import space_of
from quickstudy.search.timing import measured, operations
from quickstudy.space import Choice, Range
from quickstudy.targets.metric import Metric

OPEN = {"width": Range(2, 32), "depth": Range(1, 3), "separable": Choice(False, True)}


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "TASKS", 12)
    monkeypatch.setattr(steps, "TESTED", 20)


def test_operations_are_those_of_the_formula() -> None:
    """A convolution of 3 to 5 channels, 3 × 3, on 8 × 8: 2 · 9 · 3 · 5 · 64."""
    assert operations(nn.Conv2d(3, 5, 3, padding=1), torch.zeros(1, 3, 8, 8)) == 2 * 9 * 3 * 5 * 64


def test_a_network_ten_times_as_large_takes_longer() -> None:
    small, large = (nn.Sequential(*(nn.Conv2d(w, w, 3, padding=1) for _ in range(4))) for w in (8, 64))
    for size in (8, 64):
        assert measured([nn.Conv2d(size, 2, 3)], torch.zeros(1, size, 32, 32))[0].parameters == 2 * (9 * size + 1)
    fast = measured([small], torch.zeros(1, 8, 32, 32))[0].milliseconds
    slow = measured([large], torch.zeros(1, 64, 32, 32))[0].milliseconds
    assert fast < slow
    with pytest.raises(ConfigError, match="one example"):
        measured([small], torch.zeros(2, 8, 32, 32))


@pytest.mark.usefixtures("_quick")
def test_what_is_found_keeps_the_limit_and_is_a_part_by_name(tmp_path: Path) -> None:
    given = replace(config(), model=models.part("convnet", **OPEN))
    found = search(given, source=images(), under=1000.0, minutes=0.15, out=tmp_path / "s", quiet=True)
    assert found.milliseconds < 1000.0
    assert found.run.config.model.name == "convnet"
    assert set(found.state["chosen"]) == set(OPEN)
    assert found.run.config.model.options.items() >= found.state["chosen"].items()
    assert Run(found.run.folder, source=images()).evaluate(episodes=10).mean > 0.5, "a third is guessing"
    times = [c["milliseconds"] for c in found.front]
    assert times == sorted(times)
    page = report(found).read_text()
    assert "Found" in page and "Trained by themselves" in page
    for table in re.findall(r'<table class="returns">(.*?)</table>', page):
        assert len({len(re.findall(r"<t[hd]>", row)) for row in table.split("</tr>")[:-1]}) == 1
    best = max(found.finalists, key=lambda c: c["trained"] or 0.0)
    assert found.state["chosen"] == best["point"], "what training by itself made of a network decides"
    number = found.state["candidates"].index(best)
    assert Path(found.run.config.start) == (found.folder / f"trials/{number:03d}").absolute(), "it is trained on"


def test_a_limit_that_nothing_keeps_is_refused_with_the_fastest_there_is(tmp_path: Path) -> None:
    given = replace(config(), model=models.part("convnet", **OPEN))
    with pytest.raises(ConfigError, match="the smallest take"):
        search(given, source=images(), under=1e-6, minutes=0.1, out=tmp_path / "s", quiet=True)


def test_a_learner_that_reads_is_refused(tmp_path: Path) -> None:
    given = replace(config(), model=models.part("convnet", **OPEN), learner=learners.part("incontext", layers=1))
    with pytest.raises(ConfigError, match="reads a whole support set"):
        search(given, source=images(), minutes=0.1, out=tmp_path / "s", quiet=True)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("higher", "score"), [(True, 0.8), (True, -50.0), (False, 0.3)])
def test_without_a_limit_of_equal_headlines_the_faster_is_worth_more(higher: bool, score: float) -> None:
    searching = steps.Searching.__new__(steps.Searching)
    searching.under, searching.target = None, 2.0
    searching.metric = Metric("m", "m", "m", higher_is_better=higher)
    assert searching.worth(score, 1.0) > searching.worth(score, 4.0)
    assert searching.worth(score, 2.0) == pytest.approx(score if higher else -score)


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"under": -1.0}, {"under": float("nan")}])
def test_numbers_without_meaning_are_refused(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes more than 0"):
        search(config(), source=images(), out=tmp_path / "s", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def test_recurrent_networks_are_trained_apart_and_one_that_learns_is_found(tmp_path: Path) -> None:
    given = replace(recipes["forecast"](), model=models.part("lstm", width=Range(4, 8)), meta_batch=2, device="cpu",
                    tasks=sources.part("series", kind="lines"))  # fmt: skip
    found = search(given, under=1000.0, minutes=0.2, out=tmp_path / "s", quiet=True)
    asked = [c for c in found.state["candidates"] if c["score"] is not None]
    assert asked and found.state["steps"] == 0
    assert found.run.config.model.name == "lstm"
    assert found.state["chosen"] == min(asked, key=lambda c: c["score"] or 0.0)["point"], (
        "an error, the lower the better"
    )
    assert (found.folder / "trials").is_dir()
    assert "after a short training" in report(found).read_text()

    state = json.loads((found.folder / "search.json").read_text())
    for name in ("run", "cost", "validation", "test"):
        del state[name]
    (found.folder / "search.json").write_text(json.dumps(state))
    shutil.rmtree(found.folder / "best")
    again = resume(found.folder, quiet=True)  # as if it was killed before its last training
    number = [c["point"] for c in again.state["candidates"]].index(again.state["chosen"])
    assert again.run.config.start == str((found.folder / f"trials/{number:03d}").absolute())


def _killed(place: Path, when: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """A search in a process of its own that was killed at some moment; what it had stored."""
    words = ["search", "sinusoid-maml", "--learner", "r2d2", "--minutes", "0.25", "--device", "cpu", "--no-report"]
    process = subprocess.Popen([sys.executable, "-m", "quickstudy", *words, "--out", str(place)])
    try:
        until = time.monotonic() + 120
        while not (place / "search.json").exists() or not when(json.loads((place / "search.json").read_text())):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    state: dict[str, Any] = json.loads((place / "search.json").read_text())
    return state


@pytest.mark.parametrize("moment", ["trained", "looking", "trying", "finishing"])
def test_a_killed_search_goes_on_where_it_was(moment: str, tmp_path: Path) -> None:
    """What was trained for all is not trained again, and candidates that were looked at are not lost."""
    moments: dict[str, Callable[[dict[str, Any]], bool]] = {
        "trained": lambda state: state["steps"] > 0,
        "looking": lambda state: len(state["candidates"]) > 0,
        "trying": lambda state: "finalists" in state,
        "finishing": lambda state: "final" in state,
    }
    place = tmp_path / "s"
    before = _killed(place, moments[moment])
    assert "run" not in before
    with pytest.raises(RunError, match="--resume"):
        _ = Found(place).run
    assert main(["search", "--resume", str(place), "--no-report"]) == 0
    after = Found(place).state
    assert after["steps"] >= before["steps"] > 0
    assert after["members"] == before["members"]
    for old, new in zip(before["candidates"], after["candidates"], strict=False):
        assert new.items() >= old.items()
    assert len(after["candidates"]) >= len(before["candidates"])
    if moment != "trained":
        assert after["steps"] == before["steps"], "it was trained long enough"
    assert resume(place).state == after, "one that has ended is as it was"
    assert Run(place / "best").evaluate(episodes=5).mean > 0


def test_spaces_follow_the_examples() -> None:
    source = images()
    assert space_of(source.spec, models.part("conv4")).name == "convnet"
    own = models.part("convnet", width=Range(2, 4))
    assert space_of(source.spec, own) is own


@pytest.mark.usefixtures("_quick")
def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["search", "sinusoid-maml", "--learner", "r2d2", "--minutes", "0.1", "--under", "50", "--out", "found"]
    assert main([*arguments, "--device", "cpu", "--no-report"]) == 0
    said = capsys.readouterr().out
    assert "ms" in said
    assert "--model mlp" in said

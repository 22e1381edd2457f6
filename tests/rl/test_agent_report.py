"""The report page of agents: who got what in each episode, and films."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import quickstudy as qs
from quickstudy.registry import learners, models, sources
from quickstudy.report import report

pytest.importorskip("matplotlib")


def trained(folder: Path, tasks: Any, learner: Any) -> qs.Run:
    config = qs.RunConfig(
        name="agent", tasks=tasks, model=models.part("mlp", width=4, depth=1), learner=learner, ways=1, shots=2,
        queries=3, iterations=2, meta_batch=4, validate_every=1, validation_episodes=4, log_every=1, compile="off",
        device="cpu",
    )  # fmt: skip
    return qs.train(config, out=folder, quiet=True)


def text_of(page: str) -> str:
    body = re.sub(r"<svg.*?</svg>|<style>.*?</style>|<details>.*?</details>", "", page, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", body)


def test_a_page_has_the_returns_of_everyone_and_films(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", sources.part("gridworld", size=3, horizon=5), learners.part("rl2", width=4))
    page = report(run, episodes=20, curve_episodes=4).read_text()
    result, text = run.evaluate(episodes=20), text_of(page)
    table = page.split('<table class="returns">')[1].split("</table>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    assert [row[0] for row in rows] == ["this agent", *result.references]
    for cell, name in zip(rows[0][2:], result.further, strict=True):
        assert cell == result.figure.interval(result.further[name].mean, result.further[name].ci95)
    wiped = result.references["its memory wiped"]["return in episode 3"]
    assert rows[1][-1] == result.figure.interval(wiped.mean, wiped.ci95)
    films = re.findall(r'src="data:image/gif;base64,([^"]+)"', page)
    assert len(films) == 2
    with Image.open(io.BytesIO(base64.b64decode(films[0]))) as film:
        assert getattr(film, "n_frames", 1) > 1
    assert "the same tasks, of which none is kept for testing" in text  # a goal has met every cell in training
    stored = json.loads((run.folder / "report.json").read_text())
    assert stored["headline"]["trained"]["references"]["its memory wiped"]["return in episode 3"]["mean"] == wiped.mean


def test_a_page_of_inner_steps_tells_of_episodes_and_not_of_examples(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", sources.part("point-robot", horizon=5), learners.part("maml-rl", unit=5.0))
    page = report(run, episodes=6, curve_episodes=4).read_text()
    text = text_of(page)
    assert "side by side" in text and "not adapted" in text and "From episode to episode" not in text
    assert "inner steps on 2 episodes" in page and "tasks kept for testing" in text
    assert json.loads((run.folder / "report.json").read_text())["by_inner_steps"][0]["steps"] == 0


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", sources.part("bandit", arms=3), learners.part("ppo"))
    text = text_of(report(run, episodes=8, curve_episodes=4).read_text())
    assert "There is no film of it. Bandit cannot be drawn" in text
    assert "its memory wiped" not in text and "beside itself" not in text

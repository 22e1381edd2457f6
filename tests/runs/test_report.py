"""The report page of a run: it stands alone, and it says what report.json says."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quickstudy.episode import Episode
from quickstudy.errors import DataError, MissingExtra
from quickstudy.recipes.small import linear_maml, sinusoid_maml
from quickstudy.registry import learners, models, sources
from quickstudy.report import AdaptedTask, report
from quickstudy.report.build import affordable
from quickstudy.report.mistakes import worst_pairs
from quickstudy.runs.run import Run
from quickstudy.runs.train import train
from quickstudy.tasks.base import Source
from quickstudy.tasks.wrapped import Wrapped
from quickstudy.training.config import RunConfig

EPISODES = 12
_SHORT: dict[str, Any] = {
    "iterations": 6,
    "validate_every": 3,
    "validation_episodes": 6,
    "log_every": 1,
    "device": "cpu",
}


def glyph_config() -> RunConfig:
    return RunConfig(
        name="tiny-glyphs",
        tasks=sources.part("glyphs", alphabets=10, characters=6, drawings=20, size=16, within=True),
        model=models.part("conv4", width=8),
        learner=learners.part("protonet"),
        ways=3,
        queries=3,
        **_SHORT,
    )


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(glyph_config(), out=tmp_path_factory.mktemp("glyphs") / "run", quiet=True)


@pytest.fixture(scope="module")
def adapted(glyphs: Run) -> AdaptedTask:
    episode = glyphs.parts.source.episodes("test", torch.tensor([5]))
    names = ["left", "middle", "right"]
    given, true = ([names[i] for i in part.y[0].tolist()] for part in episode)
    assert isinstance(episode.support.x, torch.Tensor)
    assert isinstance(episode.query.x, torch.Tensor)
    support, query = episode.support.x[0], episode.query.x[0]
    model = glyphs.adapt(support, given)
    return AdaptedTask(
        model=model,
        support=support,
        support_labels=given,
        query=query,
        labels=true,
        answer=model.predict(query),
        milliseconds=12.3,
    )


@pytest.fixture(scope="module")
def glyph_page(glyphs: Run, adapted: AdaptedTask) -> str:
    return report(glyphs, episodes=EPISODES, curve_episodes=4, adapted=adapted).read_text()


@pytest.fixture(scope="module")
def glyph_numbers(glyphs: Run, glyph_page: str) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((glyphs.folder / "report.json").read_text())
    return numbers


@pytest.fixture(scope="module")
def sinusoid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = replace(sinusoid_maml(), **_SHORT, queries=20)
    return train(config, out=tmp_path_factory.mktemp("sinusoid") / "run", quiet=True)


@pytest.fixture(scope="module")
def sinusoid_page(sinusoid: Run) -> str:
    return report(sinusoid, episodes=EPISODES, curve_episodes=4).read_text()


def assert_alone(page: str, run: Run) -> None:
    assert not re.search(r"https?://", page)
    for source in re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page):
        assert source.startswith(("data:image/png;base64,", "#")), source
    assert not re.search(r"@import|url\((?!#)", page)
    assert "<script" not in page
    assert str(run.folder) not in page
    assert str(Path.cwd()) not in page


def percent(mean: float, ci95: float) -> str:
    return f"{100 * mean:.1f} % <small>± {100 * ci95:.1f}</small>"


def test_glyph_page_needs_nothing_else(glyph_page: str, glyphs: Run) -> None:
    assert_alone(glyph_page, glyphs)
    ids = re.findall(r'<(?:clipPath|path) id="([^"]+)"', glyph_page)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', glyph_page))
    assert used <= set(ids)


def test_glyph_page_says_what_its_json_says(glyph_page: str, glyph_numbers: dict[str, Any], glyphs: Run) -> None:
    for part in ("trained", "untrained"):
        result = glyph_numbers["headline"][part]
        assert percent(result["mean"], result["ci95"]) in glyph_page
    again = glyphs.evaluate(episodes=EPISODES)
    assert glyph_numbers["headline"]["trained"]["mean"] == pytest.approx(again.mean)
    assert glyph_numbers["headline"]["trained"]["ci95"] == pytest.approx(again.ci95)
    assert glyph_numbers["headline"]["trained"]["baseline"]["mean"] == pytest.approx(1 / 3)
    assert "33.3 %" in glyph_page
    assert f"kept: step {glyphs.kept['step']}" in glyph_page
    assert "learner.temperature" in glyph_page
    assert "seed 0" in glyph_page


def test_shots_and_ways_are_those_the_data_allows(glyph_numbers: dict[str, Any]) -> None:
    assert [r["shots"] for r in glyph_numbers["by_shots"]] == [1, 2, 3, 5, 10]
    assert [r["ways"] for r in glyph_numbers["by_ways"]] == [2, 3, 5]
    assert all(r["ci95"] >= 0 for r in glyph_numbers["by_shots"] + glyph_numbers["by_ways"])


def test_confusion_counts_every_query_once(glyph_numbers: dict[str, Any]) -> None:
    confusion = glyph_numbers["confusion"]
    assert confusion["ways"] == 6
    assert {name.split("/")[0] for name in confusion["classes"]} == {"alphabet10"}
    assert all(sum(row) == confusion["queries"] == 15 for row in confusion["counts"])
    right = sum(row[i] for i, row in enumerate(confusion["counts"]))
    assert confusion["accuracy"] == pytest.approx(right / 90)


def test_drawn_tasks_hold_every_image_and_mark_the_errors(glyph_page: str, glyph_numbers: dict[str, Any]) -> None:
    section = glyph_page.split("<h2>What it does</h2>")[1].split("<h2>")[0]
    assert section.count("<img") == 4 * 3 * (1 + 3)
    shares = [int(share) for share in re.findall(r"<span>(\d+) % correct", section)]
    wrong = section.count('class="bad"')
    assert wrong == sum(round((100 - share) * 9 / 100) for share in shares)


def test_adapted_task_is_shown(glyph_page: str, glyph_numbers: dict[str, Any], adapted: AdaptedTask) -> None:
    section = glyph_page.split(f"<h2>{adapted.title}</h2>")[1].split("<h2>")[0]
    assert "12 ms" in section
    assert "A: left, B: middle, C: right" in section
    right = [name == label for name, label in zip(adapted.answer.names, adapted.labels, strict=True)]  # type: ignore[attr-defined]
    assert adapted.value == pytest.approx(sum(right) / 9) and adapted.baseline == pytest.approx(1 / 3)
    assert f"{100 * adapted.value:.1f} %" in section
    assert section.count('class="bad"') == 9 - sum(right)
    assert glyph_numbers["adapted"]["accuracy"] == pytest.approx(adapted.value)


def test_adapted_task_refuses_labels_that_do_not_fit(adapted: AdaptedTask) -> None:
    with pytest.raises(DataError, match="9 query examples but 8 labels"):
        replace(adapted, labels=list(adapted.labels)[1:])
    with pytest.raises(DataError, match="'elsewhere' is not a class"):
        replace(adapted, labels=["elsewhere", *list(adapted.labels)[1:]])


def test_sinusoid_page(sinusoid_page: str, sinusoid: Run) -> None:
    assert_alone(sinusoid_page, sinusoid)
    numbers = json.loads((sinusoid.folder / "report.json").read_text())
    again = sinusoid.evaluate(episodes=EPISODES)
    number, margin = str(again).split(" ± ")
    assert f"{number} <small>± {margin}</small>" in sinusoid_page
    assert numbers["headline"]["trained"]["mean"] == pytest.approx(again.mean)
    assert [r["steps"] for r in numbers["by_inner_steps"]] == [0, 1, 5, 10]
    assert sinusoid_page.count("<span>squared error ") == 4
    assert all(r["baseline"]["mean"] > 0 for r in numbers["by_shots"])
    for word in ("truth", "before", "after", "given points", "inner steps on 5 points", "always the mean"):
        assert word in sinusoid_page
    assert "confusion" not in numbers


def test_no_steps_is_the_prediction_before_adaptation(sinusoid: Run, sinusoid_page: str) -> None:
    numbers = json.loads((sinusoid.folder / "report.json").read_text())
    before = {r["steps"]: r["mean"] for r in numbers["by_inner_steps"]}[0]
    assert before == pytest.approx(sinusoid.evaluate(steps=0, episodes=4).mean)


def test_points_in_the_plane_are_drawn_with_their_regions(tmp_path: Path) -> None:
    run = train(replace(linear_maml(), **_SHORT, queries=8), out=tmp_path / "run", quiet=True)
    page = report(run, episodes=6, curve_episodes=4).read_text()
    assert_alone(page, run)
    assert page.count("Decision regions of one task") == 4
    assert "The hardest of 6" in page


def test_transductive_runs_are_marked(tmp_path: Path, glyph_page: str) -> None:
    config = replace(glyph_config(), learner=learners.part("protonet", norm="batch"))
    run = train(config, out=tmp_path / "run", quiet=True)
    assert 'class="badge"' in report(run, episodes=4, curve_episodes=2).read_text()
    assert 'class="badge"' not in glyph_page


def test_without_matplotlib_the_error_names_the_extra(glyphs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        MissingExtra, match=r"The report page needs .*'matplotlib'.* pip install 'quickstudy\[report\]'"
    ):
        report(glyphs)


def test_worst_pairs_name_each_pair_once() -> None:
    counts = [[5, 3, 0], [4, 2, 0], [0, 1, 7]]
    assert worst_pairs(counts) == [(1, 0, 4), (2, 1, 1)]


@dataclass(frozen=True)
class Slow(Wrapped):
    """Tasks that take a fifth of a second each."""

    of: Source

    @property
    def inner(self) -> Source:
        return self.of

    def around(self, change: Callable[[Source], Source]) -> Slow:
        return Slow(change(self.of))

    def episodes(self, split: str, indices: torch.Tensor) -> Episode:
        time.sleep(0.2 * len(indices))
        return self.of.episodes(split, indices)


def test_where_tasks_take_long_a_report_is_made_of_fewer(glyphs: Run) -> None:
    assert affordable(glyphs) == 600
    slow = Run(glyphs.folder, source=Slow(glyphs.parts.source))
    assert 48 <= affordable(slow) <= 300

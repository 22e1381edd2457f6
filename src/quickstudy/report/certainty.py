"""Sections about learners that read: how sure they are, and how they do while they read."""

from __future__ import annotations

from typing import Any

import torch

from quickstudy.evaluation.calibration import LEVELS, calibration, distributions, says_how_sure
from quickstudy.evaluation.evaluate import Result
from quickstudy.pages.charts import Line, line_chart
from quickstudy.pages.html import Section, chart, charts
from quickstudy.report.measure import SPLIT
from quickstudy.runs.run import Run

_INSTANCE = "accuracy at instance "


def reading_sections(run: Run, result: Result, episodes: int, numbers: dict[str, Any]) -> list[Section]:
    """What there is to say of how sure the learner is, or of its accuracy online; its figures go into `numbers`."""
    found = []
    if says_how_sure(run.parts.engine):
        drawn = run.parts.source.episodes(SPLIT, torch.arange(episodes, device=run.parts.engine.device))
        mean, spread = distributions(run.parts.engine, run.params, drawn)
        hits = calibration(mean.cpu(), spread.cpu(), drawn.query.y.cpu())
        numbers["calibration"] = {"levels": LEVELS, "within": hits, "episodes": episodes}
        found.append(_how_sure(hits, result, episodes))
    instances = {int(n.removeprefix(_INSTANCE)): f for n, f in result.figures.items() if n.startswith(_INSTANCE)}
    if instances:
        line = Line(
            "this network",
            [float(k) for k in instances],
            [100 * f.mean for f in instances.values()],
            [100 * f.ci95 for f in instances.values()],
            marks=True,
        )
        chance = ("chance", line.x, [100 / result.ways for _ in line.x])
        picture = line_chart(
            [line], "time that a class is met", "accuracy (%)", level=chance, ticks=line.x, top=104,
            description="accuracy by instance",
        )  # fmt: skip
        text = (
            f"It reads one example after another, in random order, and says what each is before it is told. Each dot "
            f"is a mean over those of {result.episodes:,} tasks in which a class is met so often; bars: 95 % intervals."
        )
        found.append(Section("While it reads", text, charts(chart(picture))))
    return found


def _how_sure(hits: list[float], result: Result, episodes: int) -> Section:
    levels = [100 * level for level in LEVELS]
    picture = line_chart(
        [Line("this network", levels, [100 * hit for hit in hits], marks=True)],
        "level of the interval (%)", "targets within it (%)", level=("right", levels, levels), top=104,
        description="calibration",
    )  # fmt: skip
    text = (
        "With each prediction it says how sure it is. A target should lie in the interval of level 90 % nine times in "
        f"ten: on the line it is right, below it is too sure of itself. Over {episodes} tasks."
    )
    if "nll" in result.figures:
        text += f" Negative log-likelihood: {result.figures['nll']} nats (lower is better)."
    return Section("How sure it is", text, charts(chart(picture)))

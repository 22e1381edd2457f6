"""How sure a learner is, and how it does while it reads."""

from __future__ import annotations

from typing import Any

import torch

from quickstudy.evaluation.calibration import LEVELS, calibration, distributions
from quickstudy.evaluation.result import Result
from quickstudy.pages.charts import Trace, line_chart
from quickstudy.pages.html import Section, chart, charts
from quickstudy.report.measure import SPLIT
from quickstudy.runs.run import Run


def certainty_sections(run: Run, result: Result, episodes: int, numbers: dict[str, Any]) -> list[Section]:
    """What there is to say of how sure the learner is, or of how it does online; its figures go into `numbers`."""
    sections = []
    drawn = run.parts.source.episodes(SPLIT, torch.arange(episodes, device=run.parts.engine.device))
    said = distributions(run.parts.engine, run.params, drawn)
    if said is not None:
        asked = drawn.query.mask.cpu()
        mean, spread = (part.cpu()[asked] for part in said)
        hits = calibration(mean, spread, drawn.query.y.cpu()[asked])
        numbers["calibration"] = {"levels": LEVELS, "within": hits, "episodes": episodes}
        sections.append(_how_sure(hits, result, episodes))
    instance = f"{result.metric} at instance "
    instances = {int(n.removeprefix(instance)): f for n, f in result.figures.items() if n.startswith(instance)}
    if instances:
        metric = result.figure
        trace = Trace(
            "this network",
            [float(k) for k in instances],
            [metric.scale * f.mean for f in instances.values()],
            [metric.scale * f.ci95 for f in instances.values()],
            marks=True,
        )
        blind = result.baseline
        guess = run.parts.source.spec.target.guess
        level = None if blind is None else (guess, trace.x, [metric.scale * blind.mean for _ in trace.x])
        picture = line_chart(
            [trace], "time that a class is met", metric.axis, level=level, ticks=trace.x,
            top=104 if metric.percent else None, description=f"{metric.words} by instance",
        )  # fmt: skip
        text = (
            f"It reads one {run.parts.source.spec.format.example} after another, in random order, and says what each "
            f"is before it is told. Each dot is a mean over those of {result.episodes:,} tasks in which a class is met "
            "so often; bars: 95 % intervals."
        )
        sections.append(Section("While it reads", text, charts(chart(picture))))
    return sections


def _how_sure(hits: list[float], result: Result, episodes: int) -> Section:
    levels = [100 * level for level in LEVELS]
    picture = line_chart(
        [Trace("this network", levels, [100 * hit for hit in hits], marks=True)],
        "level of the interval (%)", "labels within it (%)", level=("right", levels, levels), top=104,
        description="calibration",
    )  # fmt: skip
    text = (
        "With each prediction it says how sure it is. A label should lie in the interval of level 90 % nine times in "
        f"ten: on the line it is right, below it is too sure of itself. Over {episodes:,} tasks."
    )
    if "nll" in result.figures:
        text += f" Negative log-likelihood: {result.figures['nll']} nats (lower is better)."
    return Section("How sure it is", text, charts(chart(picture)))

"""The sections that every report has: the headline, the learning curve, the headline against the size of a task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quickstudy.evaluation.estimate import Estimate
from quickstudy.evaluation.result import Result
from quickstudy.pages import html
from quickstudy.pages.charts import PALETTE, Trace, line_chart
from quickstudy.pages.html import Section, chart, charts, escape, facts, tile, tiled
from quickstudy.registry import OWN
from quickstudy.report import measure
from quickstudy.report.words import counted, each_class
from quickstudy.runs.run import Run
from quickstudy.targets.metric import Metric
from quickstudy.tasks.base import held_out
from quickstudy.training.progress import duration
from quickstudy.training.splits import ON_TRAINING_CLASSES


@dataclass(frozen=True)
class Headline:
    """What the top of the page says. trained: with its baseline."""

    trained: Result
    untrained: Result

    def numbers(self) -> dict[str, Any]:
        return {"trained": measure.brief(self.trained), "untrained": measure.brief(self.untrained)}


def shown(metric: Metric, estimate: Estimate) -> str:
    """An estimate, without an interval where it has none."""
    if estimate.ci95 > 0:
        return metric.interval(estimate.mean, estimate.ci95)
    return metric.number(estimate.mean)


def header(run: Run, headline: Headline) -> str:
    """The title, the main numbers and where they come from."""
    config, result, spec = run.config, headline.trained, run.parts.source.spec
    metric, format = result.figure, spec.format
    lead = spec.target.lead(counted(format.shot, result.shots), format.example, format.whole, each_class(run))
    tasks = "tasks of the user's own" if config.tasks.name == OWN else f"{config.tasks.name} tasks"
    new = held_out(run.parts.source, measure.SPLIT)
    kept = "tasks kept for testing" if new else "the same tasks, of which none is kept for testing"
    lead += f" It learned how to do that from {tasks}; the numbers are from {kept}."
    tiles = tile(
        f"{metric.title} on {'new' if new else 'these'} tasks",
        str(result),
        f"mean of {result.episodes:,} tasks, 95 % interval",
        main=True,
    )
    before = headline.untrained
    tiles += tile("untrained network", str(before), f"the same, over {before.episodes:,} of these")
    if result.baseline is not None:
        tiles += tile(spec.target.guess, shown(metric, result.baseline), "without a look at what is asked")
    badge = ""
    if result.transductive:
        badge = (
            '<div class="badge" title="A prediction may depend on the other examples asked about at the same time, '
            'which makes results look better than for one example at a time.">'
            "transductive: sees all questions at once</div>"
        )
    if result.warning:
        what, _, why = result.warning.partition(": ")
        badge += f'<div class="warning" role="note"><b>{escape(what)}.</b> {_numbers(why[0].upper() + why[1:])}</div>'
    metrics = run.metrics
    also = (
        [("Also", ", ".join(map(" ".join, result.also().items())))] if result.further and not result.references else []
    )
    times = facts(
        [
            ("Tasks", str(spec)),
            ("Trained", f"{counted('step', metrics[-1]['step'])} in {_spent(run)}, seed {config.seed}"),
            *also,
            ("Kept", f"the network of step {run.kept['step']:,}, {_why_kept(run)}"),
            ("Learner", f"{config.learner.name}, network {config.model.name}"),
            ("Code", f"quickstudy {result.version}{', commit ' + result.commit if result.commit else ''}"),
            ("Measured on", result.machine),
        ]
    )
    return html.header("quickstudy report", config.name, lead, badge, tiled(tiles), times)


def _numbers(text: str) -> str:
    """Text whose figures are not torn from their intervals at the end of a line."""
    return escape(text).replace(" ± ", "\u00a0±\u00a0")


def _why_kept(run: Run) -> str:
    held_out = run.kept.get("held_out", True)
    return "the best on validation tasks" if held_out else f"the last (validation was {ON_TRAINING_CLASSES})"


def _spent(run: Run) -> str:
    return duration(run.seconds)


def learning_curve(run: Run) -> Section:
    """Training and validation from the run's metrics, with the kept step marked."""
    train = [line for line in run.metrics if line["split"] == "train"]
    val = [line for line in run.metrics if line["split"] == "val"]
    learner = run.parts.engine.learner
    metric = learner.spec.target.metric
    kept, held_out = run.kept["step"], run.kept.get("held_out", True)
    name = "validation" if held_out else f"validation, {ON_TRAINING_CLASSES}"
    curves = [
        Trace("training", *_columns(train, metric.name, metric.scale), colour=PALETTE[1], faint=True),
        Trace(name, *_columns(val, metric.name, metric.scale), _columns(val, "ci95", metric.scale)[1]),
    ]
    config = run.config
    text = (
        f"Each training step learns from {counted('task', config.meta_batch)}; every {config.validate_every:,} steps "
        f"the network is tried on {config.validation_episodes:,} validation tasks it does not train on (band: 95 % "
        "interval)."
    )
    if held_out:
        text += " The step that did best there is kept."
    else:
        text += f" These are {ON_TRAINING_CLASSES}, so they choose nothing: the last step is kept."
    if not metric.higher_is_better:
        text += " Lower is better."
    size, ways = config.train_sampling.ways, config.ways
    if learner.pretrains:
        text += " Training sorts single examples into all training classes at once, so its line is on another scale."
    elif size != ways and measure.chooses_ways(run):
        text += f" Training tasks have {size} classes and validation tasks {ways}, so the two lines are not alike."
    lowest = min((y for curve in curves for y in curve.y), default=0.0)
    log = not metric.percent and not metric.higher_is_better and lowest > 0
    bottom = 10 * math.floor(max(0, lowest - 10) / 10) if metric.percent else _bottom(lowest)
    figures = [
        line_chart(
            curves, "training step", metric.axis, kept=kept, log=log, bottom=bottom,
            top=101 if metric.percent else None, description=f"{metric.words} over training",
        )
    ]  # fmt: skip
    steps, losses = _columns(train, "loss")
    if not metric.percent and losses == curves[0].y:
        return Section("How it learned", text, charts(chart(figures[0])))
    figures.append(
        line_chart(
            [Trace("training loss", steps, losses, colour=PALETTE[1])], "training step", "loss", kept=kept,
            bottom=_bottom(*losses), description="loss over training",
        )
    )  # fmt: skip
    return Section("How it learned", text, charts(*map(chart, figures)))


def _bottom(*values: float) -> float | None:
    """Where an axis begins: at 0, or where some values are below it, wherever all of them can be seen."""
    return None if min(values, default=0.0) < 0 else 0.0


def _columns(lines: list[dict[str, Any]], name: str, scale: float = 1) -> tuple[list[float], list[float]]:
    """Steps, and what was written of them under this name."""
    return [float(line["step"]) for line in lines], [scale * float(line[name]) for line in lines]


def _finite(result: Result) -> bool:
    return math.isfinite(result.mean) and math.isfinite(result.ci95)


def _against(results: Sequence[Result], axis: str, xlabel: str, guess: str) -> str:
    """A chart of the metric over `axis` of the results, with the baseline; those that are not finite are left out."""
    metric, results = results[0].figure, [r for r in results if _finite(r)]
    x, means = [float(getattr(r, axis)) for r in results], [metric.scale * r.mean for r in results]
    trace = Trace("this network", x, means, [metric.scale * r.ci95 for r in results], marks=True)
    blind = [metric.scale * r.baseline.mean for r in results if r.baseline is not None]
    level = (guess, x, blind) if len(blind) == len(x) else None
    every = [*means, *blind]
    wide = not metric.percent and not metric.higher_is_better and max(every, default=0) > 20 * min(every, default=0) > 0
    return line_chart(
        [trace], xlabel, metric.axis, level=level, ticks=x, log=wide, bottom=_bottom(*every),
        top=104 if metric.percent else None, description=f"{metric.words} by {axis}",
    )  # fmt: skip


def _counts(results: list[Result]) -> str:
    sizes = sorted({r.episodes for r in results})
    return f"{sizes[0]:,} tasks" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} tasks"


def task_size(run: Run, shots: list[Result], ways: list[Result], steps: list[Result]) -> Section:
    """The metric against the number of support examples, of classes, and of inner steps."""
    spec, each, figures, text = run.parts.source.spec, each_class(run), [], ""
    example, guess = spec.format.example, spec.target.guess
    of = f"{example}s per class" if each else f"{example}s"
    if shots:
        among = f" of each class ({spec.ways} classes)" if each else f" of a {spec.format.whole}"
        text += f"How good answers are after more or fewer {example}s{among}"
        text += "; with more classes to choose from the task gets harder. " if ways else ". "
        figures.append(chart(_against(shots, "shots", f"given {of}", guess)))
    if ways:
        given = f"{'' if each else 'at most, '}{counted(example, ways[0].shots)} {'of each' if each else 'in all'}"
        figures.append(chart(_against(ways, "ways", f"classes in the task, {given}", guess)))
    if steps:
        text += "At 0 inner steps it has made no use of what it was given. "
        given = f"{counted(spec.format.shot, steps[0].shots)}{' per class' if each else ''}"
        figures.append(chart(_against(steps, "steps", f"inner steps on {given}", guess)))
    text += f"Each dot is a mean over {_counts(shots + ways + steps)}, with its 95 % interval."
    if not run.parts.source.spec.target.metric.higher_is_better:
        text += " Lower is better."
    broken = [str(r.steps) for r in steps if not _finite(r)]
    if broken:
        text += f" Left out: {' and '.join(broken)} steps, after which some predictions are no longer finite numbers."
    return Section("How much it needs", text, charts(*figures))

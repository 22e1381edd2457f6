"""The sections that every report has: the headline, the learning curve, accuracy against the size of a task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from quickstudy.evaluation.evaluate import Result
from quickstudy.pages.charts import PALETTE, Line, line_chart
from quickstudy.pages.html import Section, chart, charts, escape, facts, tile
from quickstudy.report import measure
from quickstudy.runs.run import Run
from quickstudy.training.progress import duration
from quickstudy.training.splits import ON_TRAINING_CLASSES


@dataclass(frozen=True)
class Headline:
    """What the top of the page says. constant: MSE of answering the support mean (regression only)."""

    trained: Result
    untrained: Result
    constant: tuple[float, float] | None

    def numbers(self) -> dict[str, Any]:
        found: dict[str, Any] = {"trained": measure.brief(self.trained), "untrained": measure.brief(self.untrained)}
        if self.constant is None:
            return found | {"chance": 1 / self.trained.ways}
        return found | {"support_mean": {"mean": self.constant[0], "ci95": self.constant[1]}}


def one(word: str, count: int) -> str:
    """'1 example', '5 examples'."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def header(run: Run, headline: Headline) -> str:
    """The title, the main numbers and where they come from."""
    config, result, chance = run.config, headline.trained, headline.constant is None
    if chance:
        lead = (
            f"Shown {one('example', result.shots)} of each of {result.ways} classes it has never seen, this network "
            f"says which class a new example belongs to. It learned how to do that from {config.tasks.name} tasks; "
            "the numbers are from tasks kept aside for testing."
        )
    else:
        lead = (
            f"Shown {one('point', result.shots)} of a curve it has never seen, this network predicts the rest of it. "
            f"It learned how to do that from {config.tasks.name} tasks; the numbers are from other tasks, for testing."
        )
    what = "correct on new tasks" if chance else "error on new tasks"
    kind = "mean" if chance else "mean square"
    tiles = tile(what, str(result), f"{kind} of {result.episodes:,} tasks, 95 % interval", main=True)
    before = headline.untrained
    tiles += tile("untrained network", str(before), f"the same, over {before.episodes:,} of these")
    if headline.constant is None and run.parts.source.balanced:
        tiles += tile("pure chance", f"{100 / result.ways:.1f} %", f"guessing one of {result.ways} classes")
    elif headline.constant is not None:
        mean, ci95 = headline.constant
        tiles += tile("always the mean", f"{mean:.2f} ± {ci95:.2f}", "of the given points")
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
    times = facts(
        [
            ("Trained", f"{one('step', metrics[-1]['step']) if metrics else '?'} in {_spent(run)}, seed {config.seed}"),
            ("Kept", f"the network of step {run.kept['step']:,}, {_why_kept(run)}"),
            ("Learner", f"{config.learner.name}, network {config.model.name}"),
            ("Code", f"quickstudy {result.version}{', commit ' + result.commit if result.commit else ''}"),
            ("Measured on", result.machine),
        ]
    )
    return (
        f'<p class="eyebrow">quickstudy report</p><h1>{escape(config.name)}</h1><p class="lead">{escape(lead)}</p>'
        f'{badge}<div class="tiles">{tiles}</div>{times}'
    )


def _numbers(text: str) -> str:
    """Text whose figures are not torn from their intervals at the end of a line."""
    return escape(text).replace(" ± ", "\u00a0±\u00a0")


def _why_kept(run: Run) -> str:
    held_out = run.kept.get("held_out", True)
    return "the best on validation tasks" if held_out else f"the last (validation was {ON_TRAINING_CLASSES})"


def _spent(run: Run) -> str:
    return duration(run.metrics[-1]["seconds"]) if run.metrics else "?"


def learning_curve(run: Run) -> Section:
    """Training and validation from the run's metrics, with the kept step marked."""
    train = [line for line in run.metrics if line["split"] == "train"]
    val = [line for line in run.metrics if line["split"] == "val"]
    metric = "accuracy" if val and "accuracy" in val[0] else "mse"
    scale = 100 if metric == "accuracy" else 1
    kept, held_out = run.kept["step"], run.kept.get("held_out", True)
    name = "validation" if held_out else f"validation, {ON_TRAINING_CLASSES}"
    lines = [
        Line("training", _column(train, "step"), _column(train, metric, scale), colour=PALETTE[1], faint=True),
        Line(name, _column(val, "step"), _column(val, metric, scale), _column(val, "ci95", scale)),
    ]
    config = run.config
    size, ways = config.train_sampling, config.ways
    text = (
        f"Each training step learns from {one('task', config.meta_batch)}; every {config.validate_every:,} steps the "
        f"network is tried on {config.validation_episodes} validation tasks it does not train on (band: 95 % "
        "interval)."
    )
    if held_out:
        text += " The step that did best there is kept."
    else:
        text += f" These are {ON_TRAINING_CLASSES}, so they choose nothing: the last step is kept."
    if metric == "mse":
        figure = line_chart(
            lines, "training step", "mean squared error", kept=kept, log=True, description="Error over training"
        )
        return Section("How it learned", text + " Lower is better.", charts(chart(figure)))
    if run.parts.engine.learner.pretrains:
        text += " Training sorts single examples into all training classes at once, so its accuracy is another scale."
    elif size.ways != ways:
        text += f" Training tasks have {size.ways} classes and validation tasks {ways}, so the two lines are not alike."
    lowest = min((y for line in lines for y in line.y), default=0)
    bottom = 10 * math.floor(max(0, lowest - 10) / 10)
    accuracy = line_chart(
        lines, "training step", "accuracy (%)", kept=kept, bottom=bottom, top=101, description="Accuracy over training"
    )
    loss = Line("training loss", _column(train, "step"), _column(train, "loss"), colour=PALETTE[1])
    losses = line_chart(
        [loss], "training step", "loss (cross-entropy, nats)", kept=kept, description="Loss over training"
    )
    return Section("How it learned", text, charts(chart(accuracy), chart(losses)))


def _column(lines: list[dict[str, Any]], name: str, scale: float = 1) -> list[float]:
    return [scale * float(line[name]) for line in lines]


def _against(results: list[Result], axis: str, xlabel: str) -> str:
    """A chart of the metric over `axis` of the results; those without a finite value are left out."""
    results = [r for r in results if math.isfinite(r.mean) and math.isfinite(r.ci95)]
    x, means = [float(getattr(r, axis)) for r in results], [r.mean for r in results]
    if results and results[0].metric == "mse":
        line = Line("this network", x, means, [r.ci95 for r in results], marks=True)
        wide = max(means) > 20 * min(means) > 0
        return line_chart([line], xlabel, "mean squared error", ticks=x, log=wide, description=f"error by {axis}")
    line = Line("this network", x, [100 * m for m in means], [100 * r.ci95 for r in results], marks=True)
    chance = ("chance", x, [100 / r.ways for r in results])
    return line_chart([line], xlabel, "accuracy (%)", level=chance, ticks=x, top=104, description=f"accuracy by {axis}")


def _counts(results: list[Result]) -> str:
    sizes = sorted({r.episodes for r in results})
    return f"{sizes[0]} tasks" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} tasks"


def task_size(shots: list[Result], ways: list[Result]) -> Section:
    """Accuracy against the number of support examples, and of classes."""
    text = f"With more examples of each class ({shots[0].ways} classes) answers usually get better"
    figures = [chart(_against(shots, "shots", "given examples per class"))]
    if ways:
        text += f"; with more classes to choose from ({one('example', ways[0].shots)} each) the task gets harder"
        figures.append(chart(_against(ways, "ways", "classes in the task")))
    text += f". Each dot is a mean over {_counts(shots + ways)}, with its 95 % interval."
    return Section("How many examples it needs", text, charts(*figures))


def regression_size(shots: list[Result], steps: list[Result]) -> Section:
    """Error against the number of support points, and of inner steps where the learner takes any."""
    text = "More points of a curve usually mean a better prediction of the rest (lower is better)."
    figures = [chart(_against(shots, "shots", "given points"))]
    if steps:
        text += " It learns a curve by gradient steps on the given points; at 0 steps it has made no use of them."
        figures.append(chart(_against(steps, "steps", f"gradient steps on {one('given point', steps[0].shots)}")))
    text += f" Each dot is a mean over {_counts(shots + steps)}, with its 95 % interval."
    broken = [str(r.steps) for r in steps if not math.isfinite(r.mean) or not math.isfinite(r.ci95)]
    if broken:
        text += f" Left out: {' and '.join(broken)} steps, after which some predictions are no longer finite numbers."
    return Section("How much it needs", text, charts(*figures))

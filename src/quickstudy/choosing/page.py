"""The report of a search: what was tried, what it cost, what was chosen, and whether more would pay."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from quickstudy.choosing.chosen import Chosen
from quickstudy.choosing.record import Trial, told
from quickstudy.pages.html import Section, chart, charts, escape, facts, header, page, tile, tiled
from quickstudy.pages.searches import Scale, Tried, front_chart, parallel_chart, trials_chart
from quickstudy.report.build import settings
from quickstudy.select.pareto import front
from quickstudy.space import Range, Space
from quickstudy.storage.atomic import write_text
from quickstudy.training.progress import duration
from quickstudy.version import __version__

NAME = "choose.html"
_LISTED = 40


def report(found: Chosen) -> Path:
    """Write choose.html into the folder of the search, one page that needs nothing else; returns its path.

    Raises RunError for a search that was stopped, MissingExtra without matplotlib.
    """
    metric, record = found.metric, found.record
    done = [t for t in record.trials if not t.error]
    scale = metric.scale
    shown = [Tried(record.trained(t), scale * t.mean, scale * t.ci95, _group(t)) for t in done]
    parts = [
        Section(
            "What was tried",
            "Each dot is a trial: a learner, a network and numbers, trained for some seconds and measured on the same "
            "validation tasks. Better ones went on, and were trained three times as long. "
            f"{found.advice}",
            charts(chart(trials_chart(shown, metric.higher_is_better, metric.axis, "Trials over time")), wide=True),
        ),
        Section("The list", "What was trained longer stands before what was given up.", _list(found)),
    ]
    drawn = [t for t in record.at(0) if t.point]
    if len(drawn) > 1:
        told_of = "Each line is a trial at its first rung, through what was chosen for it; the best one is orange."
        picture = parallel_chart(*_lines(drawn, found), "Trials through their options")
        parts.append(Section("What mattered", told_of, charts(chart(picture), wide=True)))
    best = front(record.sign * np.array([t.mean for t in done]), np.array([one.cost for one in shown])).tolist()
    spent = front_chart(shown, best, "seconds of training", metric.axis, description="Cost against accuracy")
    text = "Training seconds against the headline; the line joins what nothing beats in both."
    parts.append(Section("What it cost", text, charts(chart(spent))))
    if record.failed:
        rows = [(told(t.point), t.error) for t in record.failed]
        parts.append(Section("What failed", "These trials ended with an error; the others went on.", facts(rows)))
    without = "Learners that cannot learn these tasks, and why."
    parts.append(Section("What was left out", without, facts(list(found.state["left_out"].items()))))
    footer = f"Written {datetime.now(UTC).date().isoformat()} by quickstudy {__version__}. Every trial: trials.jsonl."
    title = f"{found.config.name}: what to learn with"
    path = found.folder / NAME
    write_text(path, page(title, _header(found, title), parts, settings(found.run.config), footer))
    return path


def _group(trial: Trial) -> str:
    return str(trial.point["learner"]) if trial.point else "the recipe"


def _header(found: Chosen, title: str) -> str:
    metric, best, test = found.metric, found.best, found.test
    validated = best["validation"]
    tiles = ""
    if test is not None:
        said = f"{test.count} test tasks, which chose nothing"
        tiles += tile(f"{metric.title} on new tasks", metric.interval(test.mean, test.ci95), said, main=True)
    value = metric.interval(validated["mean"], validated["ci95"])
    tiles += tile("on validation tasks", value, f"{validated['count']} tasks, which chose it")
    recipe = [t for t in found.record.latest if not t.point]
    if recipe:
        one = recipe[0]
        tiles += tile(
            "the recipe as it stands",
            metric.interval(one.mean, one.ci95),
            f"after {duration(found.record.trained(one))}",
        )
    state = found.state
    lead = f"For these tasks: {told(best['point'])}, found in {state['minutes']:g} minutes."
    told_of = facts(
        [
            ("Tried", f"{len({t.trial for t in found.record.trials})} trials, {len(found.record.failed)} failed"),
            ("Searched", f"{duration(state['spent'])}, {state['workers']} at once, by {state['strategy']}"),
            ("Kept", str(found.run.folder)),
        ]
    )
    return header("quickstudy choose", title, lead, tiled(tiles), told_of)


def _list(found: Chosen) -> str:
    metric = found.metric
    rows = "".join(
        f"<tr><td>{i}</td><td>{escape(told(t.point))}</td><td>{escape(metric.interval(t.mean, t.ci95))}</td>"
        f"<td>{duration(found.record.trained(t))}</td></tr>"
        for i, t in enumerate(found.ranking[:_LISTED], 1)
    )
    head = f"<tr><th></th><th>tried</th><th>{escape(metric.words)}</th><th>trained</th></tr>"
    return f'<table class="returns">{head}{rows}</table>'


def _lines(trials: list[Trial], found: Chosen) -> tuple[list[Tried], list[Scale]]:
    """The trials along the options of the space, and the headline as the last axis."""
    space, metric = found.space, found.metric
    means = np.array([t.mean for t in trials])
    low, high = float(means.min()), float(means.max())
    good = (means - low) / (high - low) if high > low else np.full(len(means), 0.5)
    good = good if metric.higher_is_better else 1 - good
    drawn = [
        Tried(t.seconds, t.mean, t.ci95, _group(t), (*(_place(space, n, t.point[n]) for n in space.names), float(g)))
        for t, g in zip(trials, good, strict=True)
    ]
    ends = (low, high) if metric.higher_is_better else (high, low)
    scales = [Scale(name, _ticks(space, name)) for name in space.names]
    return drawn, [*scales, Scale(metric.label, [(i, metric.number(v)) for i, v in enumerate(ends)])]


def _place(space: Space, name: str, value: object) -> float:
    axis = space.axes[name]
    if isinstance(axis, Range):
        return axis.encode(value)[0]
    return axis.values.index(value) / max(1, len(axis.values) - 1)


def _ticks(space: Space, name: str) -> list[tuple[float, str]]:
    axis = space.axes[name]
    if isinstance(axis, Range):
        return [(place, f"{axis.at(place):.2g}") for place in (0.0, 0.5, 1.0)]
    return [(_place(space, name, value), str(value)) for value in axis.values]

"""Single tasks shown: as a fit over an axis, as regions of a plane, or example by example."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.learners import IterativeLearner
from quickstudy.pages.charts import PALETTE, Points, Trace, fit_chart, regions_chart
from quickstudy.pages.html import Section, chart, charts
from quickstudy.report import measure
from quickstudy.report.cards import KEY, a_drawing, class_card, list_card
from quickstudy.report.measure import Drawn
from quickstudy.report.words import counted
from quickstudy.runs.run import Run
from quickstudy.targets.distribution import Distribution

_GRID, _FINE, _SURE = 90, 200, 1.96
_TITLE = "What it does"


def some_tasks(run: Run, values: list[float]) -> Section | None:
    """A few test tasks; None where there is no way to show their examples.

    values: the headline of every evaluated task, by which the hardest is known.
    """
    spec, metric = run.parts.source.spec, run.parts.source.spec.target.metric
    hardest = min(range(len(values)), key=lambda i: metric.goodness(values[i]))
    first = [i for i in range(min(4, len(values))) if i != hardest][: 3 if spec.ways <= 6 else 1]
    tasks = measure.draw(run, [*first, hardest], run.config.sampling)
    titles = [f"Test task {i + 1}" for i in first] + [f"The hardest of {len(values):,}"]
    number = f"the first {len(first)} test tasks" if len(first) > 1 else "the first test task"
    picked = f" Not picked: {number}, and the one it did worst on."
    support, query = tasks[0].episode
    points = spec.format.coordinates(support.x)
    if spec.target.plotted(query.y) is not None and spec.format.axis(support.x, query.x) is not None:
        figures = [chart(_fit(run, task), title, task.told) for task, title in zip(tasks, titles, strict=True)]
        return Section(_TITLE, _fit_text(run, tasks[0]) + picked, charts(*figures))
    if tasks[0].predicted and points is not None and points.shape[1] == 2:
        figures = [chart(_plane(run, task), title, task.told) for task, title in zip(tasks, titles, strict=True)]
        text = (
            "Large dots are the given examples, small ones are new points in the colour of their true class; the "
            "background is what the network answers there."
        )
        return Section(_TITLE, text + picked, charts(*figures))
    drawn = a_drawing(spec.format, *(task.episode.support.x for task in tasks))
    if drawn is None:
        return None
    if tasks[0].predicted and drawn.small:
        cards = [class_card(task, title) for task, title in zip(tasks, titles, strict=True)]
        text = (
            "Every row is a class the network had never seen: on the left what it was shown, on the right what it was "
            "asked about. The frame says which class it answered."
        )
        return Section(_TITLE, text + picked, f'<div class="tasks">{"".join(cards)}</div>{KEY}')
    cards = [list_card(task, title) for task, title in zip(tasks, titles, strict=True)]
    text = (
        f"For each task some of the {spec.format.example}s that the network was given, with their labels, and below "
        "them new ones, with the truth and what it answered."
    )
    kind = "tasks" if drawn.small else "tasks wide"
    return Section(_TITLE, text + picked, f'<div class="{kind}">{"".join(cards)}</div>')


def _fit_text(run: Run, task: Drawn) -> str:
    support, query = task.episode
    axis = task.spec.format.axis(support.x, query.x)
    text = "Orange dots are what the network was given, grey ones the truth, and the line is what it predicts."
    text += f" {axis.note}" if axis is not None and axis.note else ""
    learner = run.parts.engine.learner.evaluated()
    if isinstance(learner, IterativeLearner):
        text += (
            f" The grey line is its prediction before it learned the task in {counted('inner step', learner.steps)}."
        )
    if task.spread is not None:
        text += " Where it is right about how sure it is, 95 % of the truth lies in the band."
    return text


def _fit(run: Run, task: Drawn) -> str:
    spec, (support, query) = task.spec, task.episode
    axis = spec.format.axis(support.x, query.x)
    assert axis is not None
    fits = []
    x, places = query.x, axis.query
    if spec.format.coordinates(query.x) is not None:  # any point can be asked about, not only those of the task
        both = torch.cat([axis.support, axis.query])
        places = torch.linspace(float(both.min()), float(both.max()), _FINE)
        x = spec.format.from_coordinates(places[:, None])
    if isinstance(run.parts.engine.learner.evaluated(), IterativeLearner):
        before = measure.answers(run, task, x, steps=0)
        fits.append(_trace("before", places, before._replace(spread=None), task, PALETTE[7], faint=True))
    fits.append(_trace("after" if fits else "predicted", places, measure.answers(run, task, x), task, PALETTE[0]))
    given, truth = (_heights(task, part.y) for part in (support, query))
    label = f"label ({spec.target.units})" if spec.target.units else "label"
    return fit_chart(fits, (axis.support.tolist(), given), (axis.query.tolist(), truth), axis.title, label)


def _heights(task: Drawn, values: Tensor) -> list[float]:
    heights = task.spec.target.plotted(values)
    assert heights is not None
    return [float(height) for height in heights]


def _trace(name: str, places: Tensor, said: Distribution, task: Drawn, colour: str, faint: bool = False) -> Trace:
    ci = None if said.spread is None else [_SURE * spread for spread in _heights(task, said.spread)]
    return Trace(name, places.tolist(), _heights(task, said.mean), ci, colour, faint=faint)


def _plane(run: Run, task: Drawn) -> str:
    format = task.spec.format
    parts = [format.coordinates(part.x) for part in task.episode]
    given, asked = (part for part in parts if part is not None)
    both = torch.cat([given, asked])
    margin = 0.08 * (both.max(dim=0).values - both.min(dim=0).values)
    low, high = both.min(dim=0).values - margin, both.max(dim=0).values + margin
    x, y = (torch.linspace(float(low[i]), float(high[i]), _GRID) for i in range(2))
    said = measure.answers(run, task, format.from_coordinates(torch.cartesian_prod(x, y)))
    classes = task.spec.target.chosen(said.mean)
    assert classes is not None
    wrong = [p != t for p, t in zip(task.predicted, task.truth, strict=True)]
    grid = (x.numpy(), y.numpy(), classes.reshape(_GRID, _GRID).T.numpy())
    support, query = (
        Points(points[:, 0].tolist(), points[:, 1].tolist(), part.y.tolist())
        for points, part in zip((given, asked), task.episode, strict=True)
    )
    return regions_chart(grid, support, query, wrong, task.spec.ways, format.directions)

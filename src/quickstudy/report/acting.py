"""Sections of agents: returns from one episode to the next, beside others who met the same tasks, and films."""

from __future__ import annotations

from collections.abc import Sequence

from quickstudy.errors import ConfigError
from quickstudy.evaluation.estimate import Estimate
from quickstudy.evaluation.result import Result
from quickstudy.learners import IterativeLearner
from quickstudy.pages.charts import PALETTE, Trace, line_chart
from quickstudy.pages.html import Section, chart, charts, escape
from quickstudy.pages.pictures import rendered
from quickstudy.report.measure import SPLIT
from quickstudy.runs.run import Run

_SHOWN = (0, 1, 2, 4, 9, 19, 49, 99, 199, 499)  # episodes, from 0
_MOST = 5  # columns of them
_MARKED = 20  # episodes that have a mark each in a chart; where there are more, it is a line with a band
_FILMS = 2  # test tasks that are filmed
_COLOURS = (PALETTE[1], PALETTE[-1], PALETTE[2], PALETTE[4])


def chosen_episodes(names: Sequence[str]) -> list[str]:
    """Of figures of a trial's episodes those that are told: the first few, some later ones, and the last."""
    known = [i for i in _SHOWN if i < len(names) - 1]
    return [names[i] for i in [*known[: _MOST - 1], len(names) - 1]] if names else []


def everyone(who: str, result: Result) -> dict[str, dict[str, Estimate]]:
    """The returns of the agent, called so, and of all others in the same tasks, by the name of the figure."""
    own = {result.metric: Estimate(result.mean, result.ci95, result.episodes)} | result.further
    return {who: own} | result.references


def episodes_section(run: Run, result: Result) -> Section:
    """The return of each episode of a trial, of the agent and of the others."""
    names, at_once = list(result.further), isinstance(run.learner, IterativeLearner)
    who = everyone("this agent", result)
    text = "The return of an episode with 95 % intervals, beside others in the same tasks. "
    if at_once:
        text += "Episodes stand side by side here: all were played after the last inner step."
    elif names:
        text += (
            "One who makes use of what the first episodes have shown is better in those that follow; one who does not "
            "gets the same in each."
        )
    figures = [] if at_once or not names else [chart(_by_episode(result, who, names))]
    return Section(
        "Beside others" if at_once else "From episode to episode", text, charts(*figures) + _table(result, who, names)
    )


def _by_episode(result: Result, who: dict[str, dict[str, Estimate]], names: Sequence[str]) -> str:
    metric, place = result.figure, {name: i + 1 for i, name in enumerate(names)}
    traces: list[Trace] = []
    level = None
    for (name, found), shade in zip(who.items(), (PALETTE[0], *_COLOURS), strict=False):
        known = [(float(place[n]), one) for n, one in found.items() if n in place]
        if known:
            x, y = [x for x, _ in known], [metric.scale * one.mean for _, one in known]
            margin = [metric.scale * one.ci95 for _, one in known]
            traces.append(Trace(name, x, y, margin, shade, marks=len(names) <= _MARKED))
        else:  # what is computed is of all episodes together
            level = (name, [1.0, float(len(names))], [metric.scale * found[result.metric].mean] * 2)
    ticks = [place[name] for name in chosen_episodes(names)]
    return line_chart(
        traces, "episode", metric.axis, level=level, ticks=ticks, bottom=None,
        description=f"{metric.words} by episode",
    )  # fmt: skip


def _table(result: Result, who: dict[str, dict[str, Estimate]], names: Sequence[str]) -> str:
    columns = [result.metric, *chosen_episodes(names)]
    heads = ["", "mean of all", *(name.removeprefix("return in ") for name in columns[1:])]
    rows = [[name, *(told(result, found.get(column)) for column in columns)] for name, found in who.items()]
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="returns"><tr>{head}</tr>{body}</table>'


def told(result: Result, one: Estimate | None) -> str:
    """An estimate for people; '' where there is none."""
    if one is None:
        return ""
    return result.figure.interval(one.mean, one.ci95) if one.count else result.figure.number(one.mean)


def films_section(run: Run) -> Section:
    """The agent in test tasks; in words, why nothing is shown, where nothing can draw them."""
    learner, title = run.parts.engine.learner.evaluated(), "What it does"
    source = run.parts.source.under(learner, run.params)
    tasks = range(_FILMS if not source.classes(SPLIT) else min(_FILMS, len(source.classes(SPLIT))))
    try:
        films = [source.filmed(SPLIT, index) for index in tasks]
    except ConfigError as error:
        return Section(title, f"There is no film of it. {error}", "")
    drawn = [film for film in films if film is not None]
    several = any(len(film.of) > 1 for film in drawn)
    text = "The agent in test tasks"
    text += ", beside itself as it is when it makes nothing of what it has been through." if several else "."
    if any(film.shown < film.steps for film in drawn):
        text += f" Films are of the first {drawn[0].shown:,} steps of {max(film.steps for film in drawn):,}."
    figures = [chart(rendered(film, f"Film of task {i + 1}"), f"task {i + 1}") for i, film in enumerate(drawn)]
    return Section(title, text, charts(*figures, wide=True))

"""The report of a search of networks: those that nothing beats, and the one that was trained."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from quickstudy.pages.html import Section, chart, charts, escape, facts, header, page, tile, tiled
from quickstudy.pages.searches import Tried, front_chart
from quickstudy.report.build import settings
from quickstudy.search.found import Candidate, Found, told
from quickstudy.storage.atomic import write_text
from quickstudy.version import __version__

NAME = "search.html"


def report(found: Found) -> Path:
    """Write search.html into the folder of the search; returns its path. Raises MissingExtra without matplotlib."""
    state, metric = found.state, found.metric
    asked = [c for c in state["candidates"] if c["score"] is not None]
    drawn = [Tried(c["milliseconds"], metric.scale * cast(float, c["score"]), 0.0, _group(c)) for c in asked]
    best = [asked.index(c) for c in found.front]
    picture = front_chart(drawn, best, "milliseconds for one example", metric.axis, state["under"], "Time and headline")
    slow = len(state["candidates"]) - len(asked)
    limit = (
        "" if state["under"] is None else f" {slow} others took longer than {state['under']:g} ms and were not asked."
    )
    shared = "with the weights it takes from one that was trained for all"
    how = shared if state["steps"] else "after a short training"
    parts = [
        Section(
            "What nothing beats",
            f"Each dot is a network {how}; the line joins those that no other beats in time and headline.{limit} The "
            "chosen one was then trained on alone.",
            charts(chart(picture)),
        ),
        Section("The front", "From the fastest on.", _table(found, found.front)),
    ]
    if found.finalists:
        said = (
            "Shared weights serve small networks best, so that those were tried which nothing beats in headline and in "
            "operations together. The best of them was trained on."
        )
        parts.append(Section("Trained by themselves, for a moment", said, _table(found, found.finalists, trained=True)))
    footer = f"Written {datetime.now(UTC).date().isoformat()} by quickstudy {__version__}. All candidates: search.json."
    path = found.folder / NAME
    title = f"{state['config']['name']}: a network that keeps its time"
    write_text(path, page(title, _header(found, title), parts, settings(found.run.config), footer))
    return path


def _group(candidate: Candidate) -> str:
    depth = candidate["point"].get("depth")
    return "network" if depth is None else f"{depth} layers"


def _header(found: Found, title: str) -> str:
    state, metric = found.state, found.metric
    tiles, test, recipe = "", found.test, state.get("recipe")
    if test is not None:
        said = f"{test.count} test tasks, which chose nothing"
        tiles += tile(f"{metric.title} on new tasks", metric.interval(test.mean, test.ci95), said, main=True)
    beside = "" if recipe is None else f"the recipe's network: {recipe['milliseconds']:.2f} ms"
    tiles += tile("for one example, one thread", f"{found.milliseconds:.2f} ms", beside)
    tiles += tile("parameters", f"{state['cost']['parameters']:,}", f"{state['cost']['operations']:,} operations")
    lead = f"Found: {found.model['name']}, {told(state['chosen'])}."
    trained = f", after {state['steps']:,} steps of training for all" if state["steps"] else ""
    looked = f"{len(state['candidates'])} networks{trained}"
    told_of = facts([("Looked at", looked), ("Minutes", f"{state['minutes']:g}"), ("Kept", str(found.run.folder))])
    return header("quickstudy search", title, lead, tiled(tiles), told_of)


def _table(found: Found, candidates: list[Candidate], trained: bool = False) -> str:
    """trained: with what they reached after a short training."""

    def row(one: Candidate) -> str:
        reached = [one["score"], one.get("trained")] if trained else [one["score"]]
        told_of = ["failed" if score is None else found.metric.number(score) for score in reached]
        cells = [f"{one['milliseconds']:.2f}", *told_of, f"{one['parameters']:,}", told(one["point"])]
        return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"

    after = ["after training"] if trained else []
    heads = ["ms", f"{found.metric.words} when asked", *after, "parameters", "network"]
    head = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in heads) + "</tr>"
    return f'<table class="returns">{head}{"".join(map(row, candidates))}</table>'

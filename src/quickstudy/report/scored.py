"""The page about one adapted model on labelled records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quickstudy.deploy.scored import Reliability, Scored
from quickstudy.episode import map_features
from quickstudy.pages.charts import Trace, line_chart
from quickstudy.pages.html import Section, chart, charts, escape, header, page, tile, tiled
from quickstudy.pages.matrix import matrix
from quickstudy.pages.pictures import letter, rendered
from quickstudy.report.mistakes import worst_pairs
from quickstudy.report.words import counted
from quickstudy.storage.atomic import write_text
from quickstudy.targets.reported import numeral
from quickstudy.version import __version__

_WIDEST = 30  # classes of a matrix
_WRONG = 12  # records that are drawn


def score_page(
    scored: Scored, path: Path, title: str, records: Sequence[Any] | None = None, names: Sequence[str] = ()
) -> Path:
    """Write the page, which needs nothing else. records: that were asked about, of which some mistakes are drawn.
    names: of the records of `scored.rows`, such as their files; none are shown if there are none."""
    wrong = _wrong(scored, records, names)
    parts = [_each(scored), _confusion(scored), _reliability(scored), _promises(scored), wrong]
    day = datetime.now(UTC).date().isoformat()
    more = [
        (one.figure.name, f"{one}{f'; {scored.blind} {one.guessed}' if one.guessed else ''}") for one in scored.figures
    ]
    text = page(
        f"{title}: how good it is", _header(scored, title), [part for part in parts if part is not None], more,
        f"Written {day} by quickstudy {__version__}.", "All figures",
    )  # fmt: skip
    write_text(path, text)
    return path


def _header(scored: Scored, title: str) -> str:
    first, *rest = scored.figures
    tiles = tile(first.figure.name, first.figure.show(first.share.value), f"95 % interval: {first.between}", main=True)
    if not first.between:
        tiles = tile(first.figure.name, first.figure.show(first.share.value), f"of {scored.count} {scored.what}", True)
    if first.guessed:
        tiles += tile(scored.blind, first.guessed, "without a look at the records")
    if scored.reliability is not None:
        tiles += tile(
            "calibration error", f"{scored.reliability.error:.3f}", "0: probabilities are as good as they say"
        )
    elif rest:
        second = rest[0]
        tiles += tile(second.figure.name, second.figure.show(second.share.value), second.between)
    lead = f"One adapted model, asked about {scored.count:,} labelled {scored.what}: {scored.spec.target}."
    unknown = f'<div class="warning" role="note">{escape(scored.warning)}</div>' if scored.warning else ""
    badge = (
        '<div class="badge">transductive: records may change each other’s answers</div>' if scored.transductive else ""
    )
    return header("quickstudy score", title, lead, badge, unknown, tiled(tiles))


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def _each(scored: Scored) -> Section | None:
    """A line for each name."""
    if not scored.hits:
        return None
    of_pixels = bool(scored.spec.target.grid)
    heads = ["", "n", "found (recall)", "right (precision)", *(["IoU"] if of_pixels else [])]
    rows = []
    for label, one in enumerate(scored.hits):
        cells = [f"{one.true:,}", _percent(one.recall), _percent(one.precision)] + (
            [_percent(one.iou)] if of_pixels else []
        )
        name = f"<td><b>{letter(label)}</b> {escape(one.name)}</td>"
        rows.append(f"<tr>{name}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    what = "pixels" if of_pixels else scored.what
    text = (
        f"n: how many {what} are of it. Recall: the share of these that was found. Precision: of what was said to be "
        "it, the share that is."
    )
    return Section("Each class", text, f'<table class="returns"><tr>{top}</tr>{"".join(rows)}</table>')


def _confusion(scored: Scored) -> Section | None:
    counts = [list(row) for row in scored.confusion]
    if not counts or not any(map(sum, counts)):
        return None
    names = scored.classes
    pairs = [f"{names[t]} for {names[p]} ({n} of {sum(counts[t])})" for t, p, n in worst_pairs(counts)]
    text = "Rows are the true class, columns the answer: blue on the diagonal is right, orange off it is a mistake."
    text += f" Most often it took {', '.join(pairs)}." if pairs else " There is no mistake."
    if len(counts) > _WIDEST:
        return Section("What it mixes up", text.partition(": ")[2].partition(".")[2].strip() or text, "")
    return Section("What it mixes up", text, matrix(counts, names))


def _reliability(scored: Scored) -> Section | None:
    found: Reliability | None = scored.reliability
    if found is None:
        return None
    x = [100 * bin.said for bin in found.bins]
    right = [100 * bin.right.value for bin in found.bins]
    above = [100 * (bin.right.high - bin.right.value) for bin in found.bins]
    below = [100 * (bin.right.value - bin.right.low) for bin in found.bins]
    trace = Trace("this model", x, right, above, marks=True, below=below)
    picture = line_chart(
        [trace], "probability it gave (%)", "how often it was so (%)",
        level=("as it should be", [0, 100], [0, 100]), top=104, description="reliability of probabilities",
    )  # fmt: skip
    text = (
        "Of answers that it gives 80 %, eight in ten should be right: on the line its probabilities can be believed, "
        "below it is too sure of itself. Bars: 95 % intervals. The calibration error is the mean distance from the "
        f"line, each bin counting by its answers: {found.error:.3f}."
    )
    return Section("Whether its probabilities can be believed", text, charts(chart(picture)))


def _promises(scored: Scored) -> Section | None:
    if not scored.promises:
        return None
    rows = "".join(
        f"<tr><td>{escape(one.what)} of {100 * one.level:g} %</td><td>{100 * one.found.value:.1f} %</td>"
        f"<td>{100 * one.found.low:.1f} to {100 * one.found.high:.1f} %</td><td>{numeral(one.size)}</td></tr>"
        for one in scored.promises
    )
    top = "<tr><th></th><th>held the truth</th><th>95 % interval</th><th>size in the mean</th></tr>"
    text = "What it promised to hold the truth so often, and how often it did."
    return Section("Whether it keeps its promises", text, f'<table class="returns">{top}{rows}</table>')


def _wrong(scored: Scored, records: Sequence[Any] | None, names: Sequence[str]) -> Section | None:
    """The worst records, by their names, those first of which the model was surest."""
    better = scored.spec.target.metric.higher_is_better
    judged = [(row[1], i) for i, row in enumerate(scored.rows) if row[1] is not None]
    worst = [i for value, i in sorted(judged, key=lambda one: one[0] if better else -one[0]) if not better or value < 1]
    if records is None or not worst or scored.spec.format.labels_itself:
        return None
    sure = [i for i in worst if not scored.confusion or scored.rows[i][2] != scored.rows[i][0]]
    if scored.confusion:
        sure.sort(key=lambda i: -float(scored.rows[i][3]))
    format, cards = scored.spec.format, []
    for i in sure[:_WRONG]:
        stored = format.query([records[scored.kept[i]]])
        drawn = format.draw(map_features(lambda t: t[0], format.features(stored.x, {})))
        if drawn is None:
            return None
        label, _, *cells = scored.rows[i]
        said = f"{cells[0]} ({100 * float(cells[1]):.0f} %)" if scored.confusion else _brief(cells[0])
        figure = f"<div><figure>{rendered(drawn, str(label))}</figure></div>"
        kind = "pair" if drawn.small else "pair wide"
        place = f"<br><small>{escape(names[i])}</small>" if names else ""
        told = f"<b>{escape(_brief(label))}</b>, answered {escape(said)}{place}"
        cards.append(f'<div class="{kind}">{figure}{told}</div>')
    text = f"{counted('record', len(cards))}, " + (
        "of which it was surest." if scored.confusion else "the worst first."
    )
    return Section("Where it is wrong", text, f'<div class="pairs">{"".join(cards)}</div>')


def _brief(value: Any) -> str:
    return numeral(value) if isinstance(value, float) else str(value)[:60]

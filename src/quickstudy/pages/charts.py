"""Charts as inline SVG that takes the page's colours, in light and in dark."""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quickstudy.errors import MissingExtra

PALETTE = ("#2f7fc1", "#e08a00", "#009e73", "#d55e00", "#b565a7", "#56b4e9", "#b8a000", "#8a8f98")
"""Colours that stay apart in colour-blind eyes (after Okabe & Ito 2008) and on light and dark paper."""
INK, MUTED, LINE, PAPER = "#010203", "#040506", "#070809", "#0a0b0c"
_PAGE_COLOURS = {INK: "currentColor", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)"}
_SIZE, _WIDE = (4.7, 3.1), (8.0, 5.0)
_LATIN = "DejaVu Sans"  # comes with matplotlib, and has Greek and Cyrillic letters too
_EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC",
    "Hiragino Sans GB", "Heiti SC", "Heiti TC", "STHeiti", "Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS",
)  # fmt: skip
"""Families with Chinese characters, as systems have them."""


@dataclass(frozen=True)
class Trace:
    """One line of a chart. ci: half-widths of intervals, drawn as a band or (with `marks`) as bars. below: of bars,
    downwards, where they are others."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    ci: Sequence[float] | None = None
    colour: str = PALETTE[0]
    marks: bool = False
    faint: bool = False
    below: Sequence[float] | None = None


def colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def require_matplotlib() -> Any:
    """The module, or MissingExtra that names what to install."""
    try:
        import matplotlib
        import matplotlib.figure
        import matplotlib.ticker
    except ImportError as error:
        raise MissingExtra("matplotlib", "report", "The report page") from error
    return matplotlib


def plot(xlabel: str, ylabel: str, size: tuple[float, float] = _SIZE) -> tuple[Any, Any]:
    figure = require_matplotlib().figure.Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel, color=MUTED)
    axes.set_ylabel(ylabel, color=MUTED)
    axes.tick_params(which="both", colors=MUTED, length=0, pad=5)
    axes.patch.set_visible(False)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)
    return figure, axes


def legend(axes: Any) -> None:
    _, labels = axes.get_legend_handles_labels()
    if labels:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2 if len(labels) == 4 else 3, frameon=False,
            labelcolor=INK, handlelength=1.4, columnspacing=1.2, borderaxespad=0.2, fontsize=9.5,
        )  # fmt: skip


@functools.cache
def fonts() -> list[str]:
    """The families by which text is measured: Latin letters, and one installed family with Chinese characters."""
    from matplotlib.font_manager import fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return [_LATIN, *[name for name in _EAST_ASIAN if name in installed][:1]]


def svg(figure: Any, description: str) -> str:
    """The figure as an <svg> element: text as text, no metadata, no namespace addresses, colours from the page.

    Whoever shows the page draws the text with fonts of their own. Here it is measured, which needs no font that has
    all of its characters: one that is missing counts as a square.
    """
    matplotlib = require_matplotlib()
    buffer = io.StringIO()
    looks = {"svg.fonttype": "none", "svg.hashsalt": "quickstudy", "font.sans-serif": fonts()}
    with matplotlib.rc_context(looks), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(<svg\b[^>]*?)\swidth="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?)\sheight="[^"]*"', rf'\1 role="img" aria-label="{description}"', text, count=1)
    for sentinel, value in _PAGE_COLOURS.items():
        text = text.replace(sentinel, value)
    return re.sub(rf"'?{_LATIN}'?[^;\"]*", "system-ui, sans-serif", text)


def line_chart(
    traces: Sequence[Trace],
    xlabel: str,
    ylabel: str,
    *,
    kept: float | None = None,
    level: tuple[str, Sequence[float], Sequence[float]] | None = None,
    ticks: Sequence[float] | None = None,
    bottom: float | None = 0,
    top: float | None = None,
    log: bool = False,
    description: str = "",
) -> str:
    """Traces over x.

    kept: an x to mark as the kept step. level: a dotted reference (name, x, y). ticks: those of x. bottom, top: of y.
    """
    figure, axes = plot(xlabel, ylabel)
    for trace in traces:
        shade = 0.65 if trace.faint else 1.0
        if trace.marks or len(trace.x) == 1:  # of one point there is no line
            bars = trace.ci if trace.below is None else [trace.below, trace.ci]
            axes.errorbar(
                trace.x, trace.y, yerr=bars, color=trace.colour, marker="o", markersize=5, linewidth=1.6,
                elinewidth=1.4, capsize=3, label=trace.label,
            )  # fmt: skip
            continue
        width = 1.1 if trace.faint else 1.8
        axes.plot(trace.x, trace.y, color=trace.colour, linewidth=width, alpha=shade, label=trace.label)
        _band(axes, trace)
    if level is not None:
        axes.plot(level[1], level[2], color=MUTED, linestyle=(0, (1.5, 2)), linewidth=1.3, label=level[0])
    if log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        subs = (1, 2, 5) if high < 100 * low else (1,)
        axes.yaxis.set_major_locator(require_matplotlib().ticker.LogLocator(subs=subs, numticks=8))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(require_matplotlib().ticker.NullFormatter())
    elif top is not None:
        axes.set_ylim(bottom, top)
    else:
        axes.set_ylim(bottom=bottom)
    if ticks is not None:
        axes.set_xticks(ticks)
    if kept is not None:
        axes.axvline(kept, color=INK, linewidth=1.1, linestyle=(0, (4, 3)), label=f"kept: step {kept:,.0f}")
    legend(axes)
    return svg(figure, description)


def _band(axes: Any, trace: Trace) -> None:
    if trace.ci is not None:
        low = [y - c for y, c in zip(trace.y, trace.ci, strict=True)]
        high = [y + c for y, c in zip(trace.y, trace.ci, strict=True)]
        axes.fill_between(trace.x, low, high, color=trace.colour, alpha=0.2, linewidth=0)


@dataclass(frozen=True)
class Points:
    """Points in the plane. classes: their numbers, which give the colour."""

    x: Sequence[float]
    y: Sequence[float]
    classes: Sequence[int]


def regions_chart(
    grid: tuple[Any, Any, Any],
    support: Points,
    query: Points,
    wrong: Sequence[bool],
    ways: int,
    titles: tuple[str, ...],
) -> str:
    """A plane coloured by predicted class (grid: x (m,), y (m,), class (m, m)) under support and query points.

    titles: of both axes.
    """
    figure, axes = plot(titles[0], titles[1])
    axes.grid(visible=False)
    levels = [i - 0.5 for i in range(ways + 1)]
    axes.contourf(*grid, levels=levels, colors=[colour(i) for i in range(ways)], alpha=0.22)
    colours = [colour(c) for c in query.classes]
    axes.scatter(query.x, query.y, s=11, c=colours, linewidths=0, label="new point")
    axes.scatter(
        support.x, support.y, s=58, c=[colour(c) for c in support.classes], edgecolors=INK, linewidths=1.3,
        label="given example",
    )  # fmt: skip
    bad = [(x, y) for x, y, w in zip(query.x, query.y, wrong, strict=True) if w]
    if bad:
        axes.scatter(*zip(*bad, strict=True), s=34, marker="x", c=INK, linewidths=1.2, label="error")
    legend(axes)
    return svg(figure, "Decision regions of one task")


@dataclass(frozen=True)
class Interval:
    """Numbers with the ends of their intervals, all (n,)."""

    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def agreement_chart(
    said: Interval, truth: Sequence[float], held: Sequence[bool], xlabel: str, ylabel: str, description: str = ""
) -> str:
    """What was said beside the truth: a dot each, with its interval. Those that do not hold it have another colour."""
    figure, axes = plot(xlabel, ylabel)
    for inside, shade, label in ((True, PALETTE[0], "within its interval"), (False, PALETTE[3], "outside")):
        rows = [i for i, one in enumerate(held) if one == inside]
        if rows:
            axes.hlines(
                [truth[i] for i in rows], [said.low[i] for i in rows], [said.high[i] for i in rows], color=shade,
                linewidth=0.8, alpha=0.25,
            )  # fmt: skip
            x, y = [said.mean[i] for i in rows], [truth[i] for i in rows]
            axes.scatter(x, y, s=13, color=shade, linewidths=0, zorder=3, label=label)
    ends = min(*said.low, *truth), max(*said.high, *truth)
    axes.plot(ends, ends, color=MUTED, linestyle=(0, (1.5, 2)), linewidth=1.3, label="equal")
    legend(axes)
    return svg(figure, description)


Dots = tuple[Sequence[float], Sequence[float]]
"""The places and heights of points."""


def fit_chart(fits: Sequence[Trace], support: Dots, query: Dots, xlabel: str, ylabel: str) -> str:
    """One task of numbers on a line: what is predicted, before and after adaptation, what was given, and the truth."""
    figure, axes = plot(xlabel, ylabel)
    axes.scatter(*query, s=13 if len(query[0]) > 30 else 26, color=MUTED, linewidths=0, zorder=3, label="truth")
    for fit in fits:
        axes.plot(fit.x, fit.y, color=fit.colour, linewidth=1.2 if fit.faint else 2.0, label=fit.label)
        _band(axes, fit)
    axes.scatter(*support, s=46, color=PALETTE[3], edgecolors=PAPER, linewidths=1, zorder=5, label="given")
    legend(axes)
    return svg(figure, "What is predicted of one task, beside the truth")


def map_chart(
    points: Points, groups: Sequence[str], arrows: Sequence[tuple[int, int]], xlabel: str, ylabel: str
) -> str:
    """Points in the plane, coloured by group, and thin lines from each to those that it started from.

    arrows: (from, to), numbers of points. Only the largest groups have a colour and stand in the legend.
    """
    figure, axes = plot(xlabel, ylabel, _WIDE)
    for start, end in arrows:
        axes.plot(
            [points.x[start], points.x[end]], [points.y[start], points.y[end]], color=LINE, linewidth=0.7, zorder=1
        )
    shown = range(min(len(groups), len(PALETTE) - 1))
    for number in [*shown, None]:
        mine = [i for i, c in enumerate(points.classes) if (c == number if number is not None else c not in shown)]
        if mine:
            label, shade = ("others", PALETTE[-1]) if number is None else (groups[number][:24], colour(number))
            x, y = [points.x[i] for i in mine], [points.y[i] for i in mine]
            axes.scatter(x, y, s=22, linewidths=0, zorder=2, c=shade, label=label)
    legend(axes)
    return svg(figure, "Map of the tasks in the bank")

"""Straight lines continued, on the page of the studies: its section and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studies.lines import LONG
from studies.table import table


def lines(found: dict[str, Any]) -> str:
    text = f"""## Straight lines continued

An LSTM sees {found["seen"]} points of a line a t + b and forecasts the next {found["next"]}, each forecast fed back.
The recipe `lines-lstm` meta-learned its start, with MAML. *From scratch* starts from the same network before training,
and has the best of several rates of gradient descent and of Adam on {found["validation"]} validation lines.

"""
    rows = []
    for name, variant in found["variants"].items():
        steps = variant["steps"]
        for start, row in variant["rows"].items():
            count = 0 if "no step" in start else LONG if str(LONG) in start else steps
            rate = "" if "rate" not in row else f"{row['rule']}, {row['rate']:g}"
            rows.append([name, start.partition(",")[0], f"{count:,}", rate, error(row["mse"])])
    text += table(["lines", "start", "steps", "rule, rate", "mean squared error"], rows)
    count = next(iter(found["variants"]["as they are"]["rows"].values()))["mse"]["count"]
    times = found["variants"]["as they are"]["times lower"]
    text += f"""
Over {count} lines that no training has seen, in the lines' own units. After as many steps the error of the meta-learned
start is {times:,.0f} times lower than that from scratch, and more steps from scratch do not close the gap: four
examples do not say how a network should go on. *Normalised* means by the points that are seen: all lines are then a
rising or a falling one, two series to learn by heart, and what is left is rounding. A straight line through the points
would make no error at all: the study is about learning from five points, not about lines.

![Lines continued](lines.svg)

The first {len(found["variants"]["as they are"]["curves"]["true"])} of these lines, as they are.
"""
    return text


def error(found: dict[str, float]) -> str:
    return f"{found['mean']:.3g} ± {found['ci95']:.2g}"


def continued(curves: dict[str, Any], seen: int, out: Path) -> None:
    """A panel for each of a few lines: the points seen, what follows, and the forecasts."""
    import matplotlib
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(7, 3.6), layout="constrained")
    panels = figure.subplots(2, len(curves["true"]) // 2, sharex=True).flatten()
    for axes, *each in zip(panels, *curves.values(), strict=True):
        true, forecasts = each[0], dict(zip(list(curves)[1:], each[1:], strict=True))
        later = range(seen, len(true))
        axes.plot(range(seen), true[:seen], "o", color="black", markersize=4, label="seen")
        axes.plot(later, true[seen:], "o", color="black", markerfacecolor="white", markersize=4, label="true")
        for (name, values), style in zip(forecasts.items(), ("-", "--"), strict=True):
            axes.plot([seen - 1, *later], [true[seen - 1], *values], style, label=name, linewidth=1.6)
        axes.set_xticks(range(0, len(true), 3))
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    figure.supxlabel("t", fontsize=10)
    with matplotlib.rc_context({"svg.hashsalt": "quickstudy"}):
        figure.savefig(out / "lines.svg", metadata={"Date": None})

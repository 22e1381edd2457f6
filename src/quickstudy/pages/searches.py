"""Pictures of a search: what was tried over time, what it cost, and along which options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quickstudy.pages.charts import INK, MUTED, PALETTE, PAPER, colour, legend, plot, require_matplotlib, svg

_WIDE = (8.6, 3.6)


@dataclass(frozen=True)
class Tried:
    """A trial in pictures. cost: seconds, or milliseconds. value: of the headline. group: of its colour. lines: where
    it stands on each axis of parallel coordinates, 0 at the bottom and 1 at the top."""

    cost: float
    value: float
    ci95: float
    group: str
    lines: tuple[float, ...] = ()


def _groups(trials: Sequence[Tried]) -> dict[str, str]:
    """A colour for each group, in the order of their names; those after the last colour share it."""
    names = sorted({trial.group for trial in trials})
    return {name: colour(min(i, len(PALETTE) - 1)) for i, name in enumerate(names)}


def trials_chart(trials: Sequence[Tried], higher: bool, ylabel: str, description: str = "") -> str:
    """Trials in the order in which they ended, and the best so far."""
    figure, axes = plot("trial", ylabel, _WIDE)
    colours = _groups(trials)
    for name in colours:
        mine = [(i + 1, t) for i, t in enumerate(trials) if t.group == name]
        axes.errorbar(
            [i for i, _ in mine], [t.value for _, t in mine], yerr=[t.ci95 for _, t in mine], fmt="o", markersize=5,
            color=colours[name], elinewidth=1.1, label=name,
        )  # fmt: skip
    best: list[float] = []
    for trial in trials:
        best.append(trial.value if not best else (max if higher else min)(best[-1], trial.value))
    axes.step(range(1, len(best) + 1), best, where="post", color=INK, linewidth=1.3, label="best so far")
    axes.xaxis.set_major_locator(require_matplotlib().ticker.MaxNLocator(integer=True))
    legend(axes)
    return svg(figure, description)


def front_chart(
    trials: Sequence[Tried], front: Sequence[int], xlabel: str, ylabel: str, limit: float | None = None,
    description: str = "",
) -> str:  # fmt: skip
    """Value against cost, and a line through those that nothing beats in both (`front`: their numbers). limit: of the
    cost, dashed."""
    figure, axes = plot(xlabel, ylabel)
    colours = _groups(trials)
    for name in colours:
        mine = [t for t in trials if t.group == name]
        axes.scatter(
            [t.cost for t in mine], [t.value for t in mine], s=26, color=colours[name], linewidths=0, label=name
        )
    order = sorted(front, key=lambda i: trials[i].cost)
    axes.plot([trials[i].cost for i in order], [trials[i].value for i in order], color=INK, linewidth=1.2, zorder=1)
    if limit is not None:
        axes.axvline(limit, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), label="limit")
    if trials and max(t.cost for t in trials) > 8 * min(t.cost for t in trials) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(require_matplotlib().ticker.NullFormatter())
    legend(axes)
    return svg(figure, description)


@dataclass(frozen=True)
class Scale:
    """One upright axis of parallel coordinates. ticks: places from 0 to 1, and what is written there."""

    name: str
    ticks: Sequence[tuple[float, str]]


def parallel_chart(trials: Sequence[Tried], scales: Sequence[Scale], description: str = "") -> str:
    """Each trial as a line through its options, the last axis being the headline; the better, the darker."""
    figure, axes = plot("", "", _WIDE)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks([])
    axes.set_xticks(range(len(scales)), [scale.name for scale in scales])
    order = sorted(range(len(trials)), key=lambda i: trials[i].lines[-1])
    for rank, i in enumerate(order):
        share = (rank + 1) / len(order)
        axes.plot(
            range(len(scales)), trials[i].lines, color=PALETTE[0] if share < 1 else PALETTE[3],
            alpha=0.12 + 0.75 * share**2, linewidth=1.0 + 1.4 * (share == 1),
        )  # fmt: skip
    for x, scale in enumerate(scales):
        axes.axvline(x, color=MUTED, linewidth=0.8)
        for y, text in scale.ticks:
            axes.text(x + 0.02, y, text, color=INK, fontsize=8.5, va="center", bbox=_halo())
    axes.set_xlim(-0.1, len(scales) - 0.55)
    axes.set_ylim(-0.06, 1.06)
    return svg(figure, description)


def _halo() -> dict[str, Any]:
    return {"facecolor": PAPER, "alpha": 0.7, "edgecolor": "none", "pad": 0.6}

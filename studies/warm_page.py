"""Searches with experience, on the page of the studies: tables, and a picture of the regret curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studies.table import table
from studies.warm import BUDGETS

NAMES = {
    "lcbench, pool": "LCBench, a pool",
    "rbv2_xgboost, pool": "XGBoost, a pool",
    "lcbench, space": "LCBench, the whole space",
    "rbv2_xgboost, space": "XGBoost, the whole space",
}


def _regret(found: dict[str, float]) -> str:
    return f"{found['mean']:.4f} ± {found['ci95']:.4f}"


def _rows(found: dict[str, Any], rows: dict[str, Any], hand: bool) -> list[list[str]]:
    lines = []
    for name, row in rows.items():
        told = ", ".join(f"{option} {value}" for option, value in row["options"].items())
        theirs = " / ".join(f"{v:.3f}" for v in found["by hand"][name]) if name in found["by hand"] else ""
        cells = [_regret(row["regret"][str(budget)]) for budget in BUDGETS]
        lines.append([f"`{name}`", told, str(row["seeds"]), *cells, *([theirs] if hand else [])])
    return lines


def _best(rows: dict[str, Any]) -> str:
    """The strategies that are surely better than the portfolio, at each budget."""
    told = []
    for budget in map(str, BUDGETS):
        gains = {name: row["less than the portfolio"][budget] for name, row in rows.items() if name != "portfolio"}
        sure = [
            f"`{name}` (by {g['mean']:.4f} ± {g['ci95']:.4f})" for name, g in gains.items() if g["mean"] > g["ci95"]
        ]
        told.append(f"after {budget} trials {', '.join(sure) or 'none'}")
    return (
        "Better than the portfolio, by paired differences over data sets with intervals above 0: "
        + "; ".join(told)
        + ".\n"
    )


def _reached(found: dict[str, Any], rows: dict[str, Any]) -> str:
    aims = dict(zip(map(str, BUDGETS), found["to reach"], strict=True))
    all_of = {n: [f"{r['regret'][b]['mean']:.4f}" for b in aims] for n, r in rows.items() if n != "random"}
    whole = [n for n, r in rows.items() if all(r["regret"][b]["mean"] <= aim for b, aim in aims.items())]
    each = {b: [n for n, r in rows.items() if r["regret"][b]["mean"] <= aim] for b, aim in aims.items()}
    aimed = " / ".join(f"{aim:g}" for aim in aims.values())
    text = f"To reach: {aimed} after {' / '.join(aims)} trials, by one strategy. "
    if whole:
        return text + f"Reached by {', '.join(f'`{n}` ({chr(32).join(all_of[n])})' for n in whole)}.\n"
    told = "; ".join(f"after {b} by {', '.join(f'`{n}`' for n in of) or 'none'}" for b, of in each.items())
    return text + f"Missed: no strategy is there at all four; {told}.\n"


def warm(found: dict[str, Any]) -> str:
    text = f"""## Hyperparameters from experience

[Searches that start from what was tried on past tasks](warm-starting.md), on the surrogates of YAHPO Gym (Pfisterer
et al. 2022): networks that say what a configuration would reach on a data set. Each data set in turn is the new
one, and all others are experience: LCBench (34 data sets, 7 options of a network; validation accuracy after 52
epochs) and rbv2_xgboost (119, 14 options, eight of which depend on the booster; accuracy on all of the data, ten
repeats). Surrogates make it cheap that every past data set was tried at the same random points, which is kinder to
all who learn from them than real experience is.

*A pool*: {found["pool"]} points drawn at random, at which past data sets were tried, are also those to choose from.
Regret is 0 at the best of them and 1 at the worst. *The whole space*: {found["experience"]} points were tried on
past data sets, and all of the space may be asked for; regret is 0 at the best that a long search or any search here
found, and 1 at the least value that YAHPO's statistics name. (The surrogates go beyond the greatest value that
these name.) Options were chosen by pools of rbv2_rpart, which is not measured. Intervals are over data sets, of the
mean over seeds; a seed is another draw of the points. How many there are stands in the table: fewer than ten where
time was short. The network of `meta` is trained without a fifth of the data sets at once, so from fewer past tasks
than the others have. Rows with fewer seeds are of the first draws alone, and not all draws are equally hard:
differences from the portfolio are over the same ones. Options that are not named are as they come, not chosen.
"""
    for title, rows in found["figures"].items():
        hand = title == "lcbench, pool"
        columns = ["strategy", "options", "seeds", *(f"after {b}" for b in BUDGETS), *(["by hand"] if hand else [])]
        text += f"\n### {NAMES[title]}\n\n" + table(columns, _rows(found, rows, hand)) + "\n"
        if hand:
            text += _reached(found, rows)
            text += (
                "*By hand* are figures of a first trial outside of this library, with other draws of points; they were "
                "not checked.\n"
            )
        text += _best(rows)
    return text + "\n![Regret after so many trials](warm.svg)\n\nMean normalised regret over data sets.\n"


def regret_curves(found: dict[str, Any], out: Path) -> None:
    """A panel for each scenario: mean regret over trials, on a logarithmic scale."""
    import matplotlib
    import matplotlib.figure

    figures = found["figures"]
    figure = matplotlib.figure.Figure(figsize=(8, 3.2 * ((len(figures) + 1) // 2)), layout="constrained")
    panels = figure.subplots((len(figures) + 1) // 2, 2, squeeze=False).flatten()
    names = list(dict.fromkeys(name for rows in figures.values() for name in rows))
    for axes, (title, rows) in zip(panels, figures.items(), strict=False):
        for name, row in rows.items():
            curve = row["curve"]
            axes.plot(range(1, len(curve) + 1), curve, label=name, color=f"C{names.index(name)}", linewidth=1.5)
        axes.set_yscale("log")
        axes.set_title(NAMES[title], fontsize=10)
        axes.set_xlabel("trials")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", linewidth=0.5)
    for axes in panels[len(figures) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("normalised regret")
    handles = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "quickstudy"}):
        figure.savefig(out / "warm.svg", metadata={"Date": None})

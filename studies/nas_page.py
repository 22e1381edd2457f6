"""Architecture search on the page of the studies: its section and its picture."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from studies.cells_data import DATA
from studies.common import interval
from studies.devices import OFFERED, SAMPLE, TEST
from studies.nas import NEAR, RUNS
from studies.table import table

RIDGE = ("36", "38", "> 100")
EVOLUTION = ("134", "170", "448")
"""Told of elsewhere, and not measured here."""


def middle(counts: list[int], most: int = 200) -> str:
    """The median, and a 95 % interval of it by resampling the runs; what was given up stands above `most`."""
    draws = np.random.default_rng(0).choice(counts, (2000, len(counts)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return f"{_told(median(counts), most)} ({_told(low, most)}–{_told(high, most)})"


def _told(value: float, most: int) -> str:
    return f"> {most}" if value > most else f"{value:,.0f}"


def nas(found: dict[str, Any]) -> str:
    return _searches(found["searches"]) + _latency(found["latency"]) + _limited(found["limited"])


def _searches(found: dict[str, Any]) -> str:
    each = [found[name] for name in DATA]
    first = each[0]["runs"]
    rows = [["by chance, exact", *(f"{one['by chance']:,.0f}" for one in each)]]
    rows += [["down the number of multiplications", *(f"{one['multiplications']:.0f}" for one in each)]]
    for name in first:
        most = 2000 if name == "evolution" else 200
        rows.append([name, *(middle(one["runs"][name], most) for one in each)])
    rows += [["evolution, elsewhere", *EVOLUTION], ["ridge on paths, elsewhere", *RIDGE]]
    rows.append(["**predicted**, chosen by the other two", *(f"**{middle(one['predicted'])}**" for one in each)])
    rows += [[f"predicted: {title}", *(middle(one["parts"][title]) for one in each)] for title in each[0]["parts"]]
    for other in DATA:
        cells = ("" if name == other else f"{found[name]['down'][other]:.0f}" for name in DATA)
        rows.append([f"down {other}'s ranking", *cells])
    rows.append(["down the mean of the other two", *(f"{one['down the mean']:.0f}" for one in each)])
    rows.append(["expected by the other two, unchanged", *(f"{one['expected, unchanged']:.0f}" for one in each)])
    rows.append(["**experienced**", *(f"**{one['experienced']}**" for one in each)])
    goods = ", ".join(f"{one['good cells']} on {name}" for name, one in found.items())
    settings = "; ".join(f"{name}: {one['chosen']}" for name, one in found.items())
    return (
        "## Searching among cells\n\n"
        f"NAS-Bench-201 has 15,625 cells. How many must be trained until one is within {NEAR} points of the best "
        f"({goods})? The file at hand holds accuracies on test data alone: what is searched for and what is told are "
        f"the same figure, as in the figures from elsewhere. Median of {RUNS} runs, in brackets its 95 % interval over "
        "runs; what involves no chance has one figure. *Predicted* knows nothing of other data sets; *experienced* "
        "knows every cell's accuracy on the other two, as the rankings do.\n\n"
        + table(["queries", *DATA], rows)
        + "\nThe predictor's settings are chosen for each data set by the other two, by how soon their five best cells "
        f"are tried ({settings}). By the median until one good cell a straight line is as good on the CIFARs, "
        "where there are several, and it fails on ImageNet16-120. What is in the list at all (descriptions, "
        "kernels) had been tried on all three. The rows under it differ from a usual setting in one thing. "
        "Evolution and ridge regression were measured again; "
        "the figures from elsewhere are as told, in setups that may differ.\n\n"
        "The cheap control is hard to beat on the CIFARs: who trains the cells with the most multiplications first "
        "has a good one nearly as soon as the predictor, and on ImageNet16-120 much later. What makes the predictor "
        "fast is for the most part what is counted in a cell; emphasis of the best helps a little, exploration not at "
        "all.\n\n"
        "*Experienced* has one parameter that matters, how much of a cell's deviation is believed, and takes it from "
        "the agreement of the two other data sets. But that levels are used to go beyond both was thought of when "
        "all three had been seen, and three data sets are few. Where a good cell is the first of a ranking, none can "
        "be sooner.\n\n"
    )


def _latency(found: dict[str, Any]) -> str:
    rows = []
    for title, one in found.items():
        over = [mean(one["test"][device][seed] for device in TEST) for seed in range(len(one["test"][TEST[0]]))]
        told = interval(over)
        rows.append([
            title, *(f"{mean(one['test'][device]):.3f}" for device in TEST),
            f"{told['mean']:.3f} ± {told['ci95']:.3f}", f"{one['validation']:.3f}",
        ])  # fmt: skip
    full = found["ours, ten designed"]["of all cells"]
    rows.append(["the same, of all cells", *(f"{full[d]:.3f}" for d in TEST), f"{mean(full.values()):.3f}", ""])
    blank = [""] * len(TEST)
    rows += [["HELP, elsewhere", *blank, ".932", ""], ["BRP-NAS, 900 measurements, elsewhere", *blank, ".789", ""]]
    return (
        "### The latency of a new device\n\n"
        f"{SAMPLE} cells are measured on a device; how well are all others ranked (Spearman's correlation)? HELP's "
        "devices for training and testing; noise is chosen on its validation devices. Ten seeds: which cells are "
        f"measured, or of which {OFFERED:,} the designed ones may be. Latencies of raspi4 below 0.1 ms (157 of them, "
        "and 45 of pixel3) are faults of measuring and left out. *Ours* smooths the training devices' tables by what "
        "the cells are.\n\n"
        + table(["", *TEST, "mean", "validation"], rows)
        + "\nThe interval is over seeds, not over devices, of which there are six. The designed sample varies "
        "more than that tells: the one of all cells, rather than of a thousand, ranks raspi4 and eyeriss worse, and "
        f"its mean is {mean(full.values()):.3f}.\n\n"
    )


def _limited(found: dict[str, Any]) -> str:
    rows = [
        [
            f"{limit} ms", f"{one['control']:.2f}", help_, f"**{one['accuracy']:.2f}**", f"{one['best possible']:.2f}",
            "none" if one["latency"] is None else f"{one['latency']:.2f}", str(one["queries"]),
            str(one["measurements"]), str(one["queried beyond the limit"]),
        ]
        for (limit, one), help_ in zip(found["rows"].items(), ("67.3", "70.2", "72.1"), strict=True)
    ]  # fmt: skip
    plan, near = found["plan"], found["short by the ten best plans"]
    short = "; ".join(", ".join("none" if value > 50 else f"{value:.2f}" for value in values) for values in near)
    return (
        f"### Within a limit of latency\n\n"
        f"The best cell for CIFAR-100 that {found['device']} runs in time, with at most ten queries of CIFAR-100 and "
        f"ten measurements of latency for each limit: {plan['first']} designed ones, the others of cells that were "
        "queried and would be the new best, or, where as many measurements as queries are left, of each before it is "
        "queried. Predictions say where to look; what is given as found was measured, so it "
        "keeps the limit. Without that no margin was both safe and near: at 8 ms all cells within 0.2 points of the "
        "best take 7.86 to 7.94 ms, and predictions err by 5 %. The control is CIFAR-10's best cell within the limit, "
        "by true latencies.\n\n"
        + table(
            ["limit", "control", "HELP, elsewhere", "found", "best possible", "its ms", "queries", "measurements",
             "queried beyond the limit"],
            rows,
        )
        + "\nHow measurements are spent was chosen on the validation devices with the other two data sets. It matters: "
        f"the ten plans that do best there fall short here by {short} points. "
        "The form of the search was tried on this device, too. That measurements come before queries where enough are "
        "left was added after a first run had fallen short by 0.27 points at 11 ms (and 0.04, 0.03); over the plans it "
        "makes little difference in validation (a mean loss of 0.342 points, without it 0.343). One search of each "
        "limit, no chance.\n\n"
        "![Latency and accuracy](searching.svg)\n\nEach point is one search, with a limit of 5, 6, … 18 ms; where "
        "nothing was found there is none.\n"
    )  # fmt: skip


def picture(found: dict[str, Any], out: Path) -> None:
    """Pareto fronts of latency and accuracy."""
    import matplotlib
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.add_subplot()
    fronts = found["limited"]["front"]
    for name, style in (("best possible", "-"), ("CIFAR-10's best", ":")):
        x, y = zip(*fronts[name], strict=True)
        axes.step(x, y, style, where="post", label=name, linewidth=1.6, color="black" if style == "-" else "gray")
    x, y = zip(*fronts["found"], strict=True)
    axes.plot(x, y, "o", label="found, ten queries and ten measurements", markersize=5)
    axes.set_xlabel(f"latency on {found['limited']['device']} (ms)")
    axes.set_ylabel("accuracy on CIFAR-100 (%)")
    axes.set_xlim(4, 19)
    axes.set_ylim(55, 75)
    axes.grid(axis="y", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    with matplotlib.rc_context({"svg.hashsalt": "quickstudy"}):
        figure.savefig(out / "searching.svg", metadata={"Date": None})

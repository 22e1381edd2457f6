"""Learners that read, on the page of the studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studies.table import percent, table

# Santoro et al. 2016, table 1, classes as random one-hot labels, in %.
PUBLISHED = {"MANN, published": {"1": 36.4, "2": 82.8, "5": 94.9, "10": 98.1}}


def nats(found: dict[str, float]) -> str:
    return f"{found['mean']:.3f} ± {found['ci95']:.3f}"


def gp(found: dict[str, Any]) -> str:
    rows = [[str(row["points"]), nats(row["ours"]), nats(row["exact"]), nats(row["more"])] for row in found["rows"]]
    text = f"""## Beside the exact posterior

The in-context transformer of the recipe `gp-incontext` on functions from a Gaussian process (RBF kernel of
lengthscale 0.4, noise of standard deviation 0.1, x in [-2, 2]): negative log-likelihood in nats for each of
{found["queries"]} query points, beside the exact posterior's, over {found["functions"]} functions. Nothing can do
better than the posterior on average; the last column is the paired difference.

"""
    text += table(["points seen", "in context", "exact posterior", "in context − exact"], rows)
    worst = max(row["more"]["mean"] for row in found["rows"] if row["points"] >= 5)
    return (
        text
        + f"""
From 5 points on the difference is at most {worst:.3f} nats. Below: how often the target lies in the central interval
that is predicted to hold it with a given probability, after 10 points.

![Calibration](calibration.svg)
"""
    )


def tables(found: dict[str, Any]) -> str:
    methods = list(found["mean"])
    rows = [[name, *(percent(row[m]) for m in methods)] for name, row in found["rows"].items()]
    rows.append(["**mean**", *(percent(found["mean"][m]) for m in methods)])
    best = max((m for m in methods if m != "in context"), key=lambda m: found["mean"][m]["mean"])
    ours, theirs = found["mean"]["in context"], found["mean"][best]
    side = "above" if ours["mean"] >= theirs["mean"] else "below"
    return (
        f"""## Small tables

Real data sets that scikit-learn carries, {found["rows each"]} rows drawn at random to learn from, accuracy in % on all
the others, over {found["splits"]} such splits. *In context* is the recipe `tables-incontext`, trained on made-up tables
alone: it has never seen real data, and answers in one forward pass. The others are scikit-learn's, with default
settings.

"""
        + table(["data", *methods], rows)
        + f"""
The mean of the in-context learner is {abs(100 * (ours["mean"] - theirs["mean"])):.1f} points {side} that of the best of
the others, {best}. Intervals are over splits of the same data, so they say how much the choice of rows matters.
"""
    )


def mixed(found: dict[str, Any]) -> str:
    methods = list(next(iter(found["mean"].values())))
    text = f"""## Tables of mixed columns

Real tables that scikit-learn and statsmodels carry, with categories and gaps among their columns, and the four above:
{found["rows each"]} rows drawn at random to learn from, up to {found["asked"]} others to tell, over {found["splits"]}
such splits. *In context* are the recipes `tables` and `tables-numbers`, trained on made-up tables alone; they answer in
one forward pass, and nothing was chosen on these tables. Of the others, logistic and ridge regression choose their
strength by inner cross-validation of each split, and gradient boosting (LightGBM) takes the best of {found["trials"]}
random trials of it.

"""
    if found["left"]:
        text += (
            f"Of {len(found['left'])} further sets not every method is measured yet: {'; '.join(found['left'])}.\n\n"
        )
    for kind, what in (("classes", "accuracy in %"), ("numbers", "R² in %")):
        mean = found["mean"][kind]
        rows = [
            [name, *(percent(row["figures"][m]) for m in methods)]
            for name, row in found["rows"].items()
            if row["classes"] == (kind == "classes")
        ]
        rows.append(["**mean**", *(percent(mean[m]) for m in methods)])
        _, best = max((mean[m]["mean"], m) for m in methods[1:])
        more = 100 * (mean["in context"]["mean"] - mean[best]["mean"])
        text += table([f"{kind}: {what}", *methods], rows)
        text += f"""
The mean of the in-context learner is {abs(more):.1f} points {"above" if more >= 0 else "below"} that of the best of the
others, {best}.

"""
    text += f"""R² is the share of the variance of the told rows that is explained; that of one split counts as
{found["worst"]:g} at least. Intervals are over splits of the same data, so they say how much the choice of rows
matters.
"""
    return text


def online(found: dict[str, Any]) -> str:
    instances = list(next(iter(found["rows"].values())))
    names = {"omniglot-mann": "`mann`", "omniglot-lstm": "`lstm`"}
    rows = [[names[name], *(percent(row[k]) for k in instances)] for name, row in found["rows"].items()]
    rows += [[name, *(f"{row[k]:.1f}" if k in row else "–" for k in instances)] for name, row in PUBLISHED.items()]
    return f"""## Reading online

Sequences of 50 characters from five classes of Omniglot that no training has seen, in random order, with random
labels. Each is predicted before its label is shown: accuracy in % the first, second, … time that a class is met, over
{found["sequences"]} sequences. The first time nothing can be known but which labels are taken already. Both were
trained for as many steps; the LSTM alone, without rows to look things up in, needs many more to begin to learn. The
published figures are of Santoro et al. 2016, whose network has no convolutions and whose split is another.

""" + table(
        [
            "learner",
            *(f"{k}{'st' if k == '1' else 'nd' if k == '2' else 'rd' if k == '3' else 'th'}" for k in instances),
        ],
        rows,
    )


def calibration(found: dict[str, Any], out: Path) -> None:
    """How often targets lie in the predicted intervals, against the intervals' level."""
    import matplotlib
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(4.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for (name, hits), style in zip(found["calibration"].items(), ("o-", "x--"), strict=True):
        label = "in context" if name == "ours" else "exact posterior"
        axes.plot(found["levels"], hits, style, markersize=4, linewidth=1, label=label)
    axes.set(xlabel="level of the interval", ylabel="share of targets within", xlim=(0, 1), ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "quickstudy"}):
        figure.savefig(out / "calibration.svg", metadata={"Date": None})

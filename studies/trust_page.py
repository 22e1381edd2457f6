"""How far answers can be believed, on the page of the studies: its section."""

from __future__ import annotations

from typing import Any

from studies.table import percent, table


def trust(found: dict[str, Any]) -> str:
    rows, low, high = found["rows"], *(100 * end for end in found["band"])
    counts = sorted({row["all"]["held"]["count"] for row in rows.values()})
    told = ", ".join(
        f"{name} ({row['size']['ways']}-way {row['size']['shots']}-shot, {row['validation']['classes']} validation "
        f"classes)" for name, row in rows.items()
    )  # fmt: skip
    text = f"""## How far answers can be believed

Small networks, trained for some minutes each, with [trust](trust.md) fitted over validation tasks and measured on
{" to ".join(f"{count:,}" for count in counts)} test tasks of each source: {told}. Intervals are over tasks, which share
their classes: over other classes they would be wider.

*Estimates of a model's own accuracy*, from its support set: how many of the {100 * found["level"]:.0f} % intervals held
the accuracy on the task's queries, how wide they are, and how well estimates order tasks. *Left out* is the accuracy of
support examples that were left out, with Wilson's interval, which knows nothing of other tasks.

"""
    columns = ["source", "accuracy", "held the truth", "left out", "width", "left out", "rank correlation", "left out"]
    text += table(columns, [
        [name, percent(every["accuracy"]), percent(every["held"]), percent(every["left-out held"]),
         percent(every["width"]), percent(every["left-out width"]), f"{row['rank']:.2f}", f"{row['left-out rank']:.2f}"]
        for name, row in rows.items() for every in [row["all"]]
    ])  # fmt: skip
    text += f"""
*Sets* with a coverage of {100 * found["coverage"]:.0f} %: how often they held the class, and how many classes they
have, over all tasks and over those with an accuracy of {low:.0f} to {high:.0f} %. *Left out* are conformal sets of
the task alone, by the quantile of its examples when they were left out.

"""
    lines = []
    for name, row in rows.items():
        for which, label in (("all", "all"), ("band", f"{low:.0f} to {high:.0f} %")):
            if which in row:
                part = row[which]
                lines.append([
                    name, label, f"{part['covered']['count']:,}", percent(part["covered"]), _number(part["size"]),
                    percent(part["left-out covered"]), _number(part["left-out size"]),
                ])  # fmt: skip
    text += table(["source", "tasks of", "tasks", "coverage", "classes", "left out: coverage", "classes"], lines)
    text += """
*Inputs of none of the classes*, of other test classes: how well `known` tells them from those of the classes (AUROC,
within a task), beside the largest probability; how many of the inputs of the classes are refused at the promised rate,
and how many of the others. The last column is the calibration error of the probabilities (15 bins), before and after.

"""
    rates = found["rates"]
    columns = ["source", "AUROC", "largest probability", *(f"{100 * r:g} % promised" for r in rates),
               f"others found at {100 * rates[-1]:g} %", "calibration error"]  # fmt: skip
    lines = []
    for name, row in rows.items():
        every, error = row["all"], row["calibration"]
        lines.append([
            name, _share(every["auroc"]), _share(every["auroc by probability"]),
            *(percent(every[f"alarms {r:g}"]) for r in rates), percent(every[f"found {rates[-1]:g}"]),
            f"{error['before']:.3f}, {error['after']:.3f}",
        ])  # fmt: skip
    return text + table(columns, lines)


def _number(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} ± {found['ci95']:.2f}"


def _share(found: dict[str, float]) -> str:
    return f"{found['mean']:.3f} ± {found['ci95']:.3f}"

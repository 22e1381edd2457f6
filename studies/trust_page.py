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
    text += table(columns, lines)
    if asked := found.get("next"):
        text += _labelled_next(asked)
    if tables := found.get("tables"):
        text += _on_tables(tables)
    return text


def _on_tables(tables: dict[str, Any]) -> str:
    """What the shipped models of tables promise, on real ones."""
    count = next(iter(tables.values()))["covered"]["count"]
    text = f"""
*Tables*: the models `tables` that come with the package, whose trust was fitted over made-up tables alone, on real
ones: {count} splits of each, 64 rows to learn from and 150 to be asked about. Intervals of the accuracy, sets of
classes and intervals of numbers are of 90 %; the size of a set is its number of classes, that of an interval in
spreads of the labels. Splits of one table are much alike, so that intervals of its accuracy hold in nearly
all of them, or in few.

"""
    columns = ["table", "accuracy", "estimate", "held the truth", "width", "coverage", "size"]
    lines = []
    for name, row in tables.items():
        shares = [percent(row[key]) if key in row else "" for key in ("accuracy", "said", "held", "width")]
        lines.append([name, *shares, percent(row["covered"]), _number(row["size"])])
    return text + table(columns, lines)


def _labelled_next(asked: dict[str, Any]) -> str:
    """What `model.next` brings, beside chance."""
    count = next(iter(asked.values()))["next"]["count"]
    text = f"""
*Which to label next*: {count} tasks with one example of each of 20 classes, of the model `handwriting` that comes with
the package. Of 50 inputs without labels 5 are labelled, those that `model.next` names, or five by chance; accuracy is
that on 250 others, and the difference is within tasks.

"""
    columns = ["source", "before", "after those of `next`", "after five by chance", "difference"]
    return text + table(columns, [
        [name, *(percent(row[key]) for key in ("before", "next", "chance", "difference"))]
        for name, row in asked.items()
    ])  # fmt: skip


def _number(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} ± {found['ci95']:.2f}"


def _share(found: dict[str, float]) -> str:
    return f"{found['mean']:.3f} ± {found['ci95']:.3f}"

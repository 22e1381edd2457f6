"""How far a run's models can be trusted: what they promise, held against test tasks."""

from __future__ import annotations

from typing import Any

from quickstudy.errors import ConfigError, DataError
from quickstudy.learners import IterativeLearner
from quickstudy.pages.charts import Interval, Trace, agreement_chart, line_chart
from quickstudy.pages.html import Section, chart, charts, facts
from quickstudy.runs.run import Run
from quickstudy.trust.checked import ALARMS, COVERAGE, ITERATIVE, LEVEL, TASKS, Checked, told
from quickstudy.trust.checked_values import CheckedIntervals, CheckedPixels
from quickstudy.trust.figures import BINS

_TITLE, _LEAST = "How far it can be trusted", 20
_FULL = 0.01  # the least share of all inputs that a dot stands for


def trust_sections(run: Run, episodes: int, numbers: dict[str, Any]) -> list[Section]:
    """One section, where anything is promised; its figures go into `numbers`. episodes: tasks behind the headline,
    which bound how many are learned for it."""
    target = run.spec.target
    if target.promises == "nothing" or (not target.calibrates and run.believed()[0] is None):
        return []  # of numbers and masks, nothing is fitted for a page alone
    most = ITERATIVE if isinstance(run.learner, IterativeLearner) else TASKS
    try:
        found = run.check_trust(tasks=min(most, max(_LEAST, episodes // 3)))
    except (ConfigError, DataError) as error:
        numbers["trust"] = {"none": str(error)}
        return [Section(_TITLE, f"Nothing tells how far its answers can be believed. {error}", "")]
    numbers["trust"] = found.to_json()
    if not isinstance(found, Checked):
        return [Section(_TITLE, _of_values(found), facts([(what, said) for what, said, _ in found.rows()]))]
    return [Section(_TITLE, _text(found), charts(chart(_agreement(found)), chart(_reliability(found))) + _facts(found))]


def _of_values(found: CheckedIntervals | CheckedPixels) -> str:
    promises = "; ".join(f"{one.what} ({one.promised} promised): {one.found}" for one in found.outcomes())
    return f"What is said with its answers was held against the truth of {found.tasks:,} test tasks. {promises}."


def _held(found: Checked) -> list[bool]:
    ends = zip(found.low, found.truth, found.high, strict=True)
    return [low - 1e-9 <= true <= high + 1e-9 for low, true, high in ends]


def _text(found: Checked) -> str:
    level, held = f"{100 * LEVEL:.0f} %", sum(_held(found))
    text = (
        "A model that has learned a task says, from its few examples alone, how often it will be right, with an "
        f"interval that should hold the truth in {level} of tasks. Each dot is one of {found.tasks:,} test tasks; in "
        f"{held:,} the truth, from {found.queries:,} inputs, was within. Beside it: of answers that are said to be so "
        "likely, how many are right. On the dotted line all is as it says."
    )
    if found.auroc is not None:
        text += f" In each task it was also asked about {found.strange:,} inputs of classes that it was not shown."
    return text


def _agreement(found: Checked) -> str:
    percent = [[100 * one for one in part] for part in (found.said, found.low, found.high, found.truth)]
    said, low, high, truth = percent
    return agreement_chart(
        Interval(said, low, high), truth, _held(found), "accuracy that it says (%)", "accuracy that it has (%)",
        description="estimated and true accuracy of tasks",
    )  # fmt: skip


def _reliability(found: Checked) -> str:
    traces = []
    for label, part, faint in (("as learned", found.plain, True), ("calibrated", found.tempered, False)):
        least = _FULL * sum(part.count) / BINS
        kept = [i for i, count in enumerate(part.count) if count >= least]
        x, y = ([100 * values[i] for i in kept] for values in (part.sure, part.right))
        traces.append(Trace(label, x, y, colour="#8a8f98" if faint else "#2f7fc1", marks=True))
    return line_chart(
        traces, "probability that is said (%)", "answers that are right (%)", level=("right", [0, 100], [0, 100]),
        top=104, description="reliability",
    )  # fmt: skip


def _facts(found: Checked) -> str:
    rows = [
        ("Its own accuracy", f"{told(found.held, True)} of {100 * LEVEL:.0f} % intervals hold it; their mean width is "
         f"{told(found.width, True).removesuffix(' %')} points"
         + ("" if found.rank is None else f"; rank correlation of estimate and truth {found.rank}")),
        ("Calibration error", f"{found.after}, before the temperature {found.before}"),
    ]  # fmt: skip
    if found.covered is not None and found.size is not None:
        rows.append(
            (
                f"Sets at {100 * COVERAGE:.0f} %",
                f"{told(found.covered, True)} hold the class, with {found.size} classes",
            )
        )
    if found.auroc is not None:
        rows.append(("Unknown inputs", f"AUROC {found.auroc}, by the largest probability alone {found.by_probability}"))
    if found.alarms is not None:
        refused = "" if found.refused is None else f", and {told(found.refused, True)} of unknown inputs"
        promised = f"at the promised {100 * ALARMS:.0f} %"
        rows.append(("False alarms", f"{promised} it refuses {told(found.alarms, True)} of inputs it knows{refused}"))
    return facts(rows)

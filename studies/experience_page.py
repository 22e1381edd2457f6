"""The section of the page on which learners suit which tasks: the experience that choosing begins from."""

from __future__ import annotations

from statistics import mean
from typing import Any

from quickstudy.choosing import told
from quickstudy.targets.metric import Metric, metric_named
from studies.table import table

_SHOWN = 3


def _value(metric: Metric, loss: float) -> str:
    return metric.number(-loss if metric.higher_is_better else loss)


def _ranks(points: list[dict[str, Any]]) -> dict[str, float]:
    """The mean rank of a learner's best point among those of all learners, by one source; failed ones are last."""
    best: dict[str, float] = {}
    for one in points:
        loss = float("inf") if one["loss"] is None else one["loss"]
        name = one["point"]["learner"]
        best[name] = min(best.get(name, float("inf")), loss)
    order = sorted(best, key=lambda name: best[name])
    return {name: order.index(name) + 1 for name in best}


def experience(found: dict[str, Any]) -> str:
    lines = [
        "## Which learner for which tasks",
        "",
        f"Learners, networks and rates, each trained for {found['seconds']:g} seconds on one core, on {found['tasks']} "
        "validation tasks. These are what `quickstudy choose` begins from. So short a training says what learns fast; "
        "what is behind here may come first after hours. One seed; points were drawn, and are not each learner's best.",
        "",
    ]
    for kind, tried in found["found"].items():
        rows = []
        for name, one in tried.items():
            metric = metric_named(one["metric"])
            done = sorted((p for p in one["points"] if p["loss"] is not None), key=lambda p: p["loss"])
            for place, point in enumerate(done[:_SHOWN], 1):
                first = [name, str(len(one["points"]))] if place == 1 else ["", ""]
                rows.append([*first, f"{place}. {told(point['point'])}", _value(metric, point["loss"])])
        lines += [f"### {kind.capitalize()}", "", table([kind, "tried", "best", "reached"], rows)]
        ranks = [_ranks(one["points"]) for one in tried.values()]
        names = {name for one in ranks for name in one}
        order = sorted(sorted(names), key=lambda name: mean(one[name] for one in ranks if name in one))
        said = ", ".join(f"`{n}` {mean(one[n] for one in ranks if n in one):.1f}" for n in order)
        lines += [f"Mean rank of each learner's best point: {said}.", ""]
    return "\n".join(lines)

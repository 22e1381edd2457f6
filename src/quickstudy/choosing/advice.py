"""Whether more search would pay, from what searching has brought so far."""

from __future__ import annotations

import numpy as np

from quickstudy.choosing.record import Record
from quickstudy.targets.metric import Metric

_LEAST = 4  # trials from which something can be said
_DRAWS = 2000


def gained_by_doubling(record: Record) -> float:
    """What the last doubling of the number of trials brought, in the unit of the headline: the mean best of all trials
    at rung 0 over that of half of them, drawn without regard to their order."""
    means = record.sign * np.array([t.mean for t in record.at(0)])
    rng = np.random.default_rng(0)
    half = [rng.permutation(means)[: (len(means) + 1) // 2].max() for _ in range(_DRAWS)]
    return float(means.max() - np.mean(half))


def gained_by_time(record: Record) -> tuple[float, float] | None:
    """What training the furthest trial three times as long brought, and the half-width of its interval, in the same
    validation tasks; None where none went on."""
    for last in record.latest:
        before = [t for t in record.trials if t.trial == last.trial and t.rung == last.rung - 1 and not t.error]
        if before:
            return last.ahead_of(before[0], record.sign)
    return None


def advice(record: Record, metric: Metric) -> str:
    """In words, for whoever has to decide whether to go on."""
    there = record.at(0)
    if len(there) < _LEAST:
        return f"{len(there)} trials finished, too few to say whether more would pay. Give more minutes."
    best = record.latest[0]
    doubled, noise = gained_by_doubling(record), there[0].ci95
    longer = gained_by_time(record)
    amount = metric.number
    words = [
        f"Twice as many trials brought {amount(doubled)}, and the best one is known to within {amount(noise)}: "
        + ("more trials will hardly pay." if doubled < noise / 2 else "more trials may pay.")
    ]
    if longer is not None:
        gain, half = longer
        words.append(
            f"Training three times as long brought {amount(gain)} ± {amount(half)}: "
            + ("longer training will hardly pay." if gain < half else "longer training pays still.")
        )
    elif best.rung == 0:
        words.append("No trial was trained longer, so that nothing is known of that.")
    return " ".join(words)

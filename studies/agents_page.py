"""The section of the page on agents."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from studies.table import table

_STAYING = -100 * (math.sqrt(2) + math.asinh(1)) / 6  # the mean distance from the middle of a square of side 1
_NAMES = {
    "rl-bandit": "Bandits of five arms, ten pulls",
    "rl-gridworld": "A grid of 5 by 5 cells with a hidden goal, four episodes of 15 steps",
}


def _told(one: dict[str, Any]) -> str:
    if not any(one["seeds"]):
        return ""
    return f"{one['mean']:.3f} ± {one['ci95']:.3f}" if one["ci95"] else f"{one['mean']:.3f}"


def _trial(name: str, found: dict[str, Any]) -> str:
    rows, episodes = found["rows"], found["episodes of a trial"]
    columns = ["return", *(f"return in episode {i}" for i in (1, 2, 3, episodes))]
    seconds = f"{median(found['seconds']):.0f} seconds (median of the seeds)"
    text = f"\n{name}. Trained for {found['steps']} outer steps, in {seconds}.\n\n"
    heads = ["", "an episode", "the 1st", "2nd", "3rd", "last"]
    text += table(heads, [[who, *(_told(row[c]) if c in row else "" for c in columns)] for who, row in rows.items()])
    best, own = rows["the best there is"]["return"]["mean"], rows["trained"]["return"]
    each = ", ".join(f"{100 * one / best:.1f}" for one in own["seeds"])
    return text + f"\nThat is {each} % of the best there is, by seed.\n"


def agents(found: dict[str, Any]) -> str:
    """What agents make of their first episodes."""
    text = f"""## Agents

The return of an episode over {found["episodes"]} test environments, the mean of {len(found["seeds"])} seeds of
training; intervals are those of one seed. The best there is is computed: of bandits over all that can have been seen,
of the grid over all walks. All 24 goals of the grid are met in training.
"""
    text += "".join(_trial(name, found[recipe]) for recipe, name in _NAMES.items() if recipe in found)
    if point := found.get("rl-point-maml"):
        row = point["rows"]["after inner steps"]
        text += f"""
MAML for policies: a point that must find its goal, trained to take two inner steps of ten episodes each, in
{median(point["seconds"]):.0f} seconds (median of the seeds). The return of an episode of 100 steps after so many of
them, over {found["few"]} test tasks. Staying where it is brings {_STAYING:.1f} on average.

"""
        text += table(["inner steps", *row], [["return", *(_told(one) for one in row.values())]])
    return text

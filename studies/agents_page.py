"""The section of the page on agents."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from studies.table import table

_STAYING = -100 * (math.sqrt(2) + math.asinh(1)) / 6  # the mean distance from the middle of a square of side 1
_ABOUT = {
    "bandits, 5 arms, 10 pulls": "Bandits of five arms, ten pulls",
    "bandits, 10 arms, 100 pulls": "Bandits of ten arms, a hundred pulls",
    "grid": "A grid of 5 by 5 cells with a hidden goal, four episodes of 15 steps. All 24 goals are met in training",
    "decision processes": "Random decision processes of ten states and five actions, ten episodes of ten steps",
    "highway": "A highway whose traffic, and what pays, differ; three episodes of 40 seconds",
    "arcade": "Five games whose rules differ, four episodes of 50 steps; training has no combination of the tests",
    "cheetah": "HalfCheetah that is to run forwards or backwards",
    "reacher": "A robot arm that is to find a goal that it is not shown",
}


def _told(one: dict[str, Any]) -> str:
    if not any(one["seeds"]):
        return ""
    return f"{one['mean']:.3f} ± {one['ci95']:.3f}" if one["ci95"] else f"{one['mean']:.3f}"


def _list(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


def _code(found: dict[str, Any]) -> str:
    """Which code a row is of: rows are measured one at a time."""
    each = ", ".join(f"`{one}`" for one in dict.fromkeys(found["commit"]))
    return f"At commit {each}."


def _shares(each: dict[str, Any]) -> str:
    return ", ".join(f"{100 * one['mean']:.1f}" for name, one in each.items() if name != "return")


def _trial(about: str, found: dict[str, Any]) -> str:
    rows, episodes = dict(found["rows"]), found["episodes of a trial"]
    columns = ["return", *dict.fromkeys(f"return in episode {i}" for i in (1, 2, 3, episodes) if i <= episodes)]
    heads = ["", "an episode", *(f"episode {c.rsplit(' ', 1)[1]}" for c in columns[1:])]
    early = rows.pop("ended early", {})
    text = f"""
{about}. Trained for {found["steps"]} outer steps of {found["tasks of a step"]} tasks, in
{median(found["seconds"]):.0f} seconds (median of the seeds: {_list(found["seeds"])}); over {found["episodes"]} test
tasks. {_code(found)}

"""
    lines = [[who, *(_told(row[c]) if c in row else "" for c in columns)] for who, row in rows.items()]
    far = dict(found.get("in highway-env", {}))
    early_there = far.pop("ended early", None)
    lines += [[f"in highway-env: {who}", *(_told(row[c]) for c in columns)] for who, row in far.items()]
    if far:
        one = far["trained"]["return"]
        text = text.rstrip() + f" In highway-env {one['count']} tasks, {len(one['seeds'])} of the seeds.\n\n"
    for others in ("without adaptation", "by rules"):
        lines += [[who, *(_told(row[c]) for c in columns)] for who, row in found.get(others, {}).items()]
    if scratch := found.get("from scratch"):
        names = {"1 x": "from scratch, the data of a trial", "100 x": "from scratch, 100 times the data"}
        lines += [[names[t], _told(one)] + [""] * (len(columns) - 1) for t, one in scratch["from scratch"].items()]
    text += table(heads, lines)
    if any(any(one["seeds"]) for one in early.values()):
        text += f"\nEnded early, as by a collision, in %, episode by episode: {_shares(early)}"
        text += f"; in highway-env {_shares(early_there)}.\n" if early_there else ".\n"
    if best := rows.get("the best there is"):
        each = ", ".join(f"{100 * one / best['return']['mean']:.1f}" for one in rows["trained"]["return"]["seeds"])
        text += f"\nThat is {each} % of the best there is, by seed.\n"
    return text


def agents(result: dict[str, Any]) -> str:
    """What agents make of their first episodes."""
    found = result["found"]
    text = """## Agents

The return of an episode in test environments, the mean over seeds of training, each on one core; intervals are those
of one seed. Other programs ran beside some, which their seconds show. The best there is is computed: of bandits over
all that can have been seen, of the grid over all walks.
"""
    text += "".join(_trial(about, found[name]) for name, about in _ABOUT.items() if name in found)
    if point := found.get("point"):
        row = point["after inner steps"]["after inner steps"]
        text += f"""
MAML for policies: a point that must find its goal, trained in {median(point["seconds"]):.0f} seconds (median of the
seeds: {_list(point["seeds"])}). The return of an episode of 100 steps after so many inner steps, over
{point["episodes"]} test tasks. {_code(point)} Staying where it is brings {_STAYING:.1f} on average.

"""
        text += table(["inner steps", *row], [["return", *(_told(one) for one in row.values())]])
    return text


def agents_speed(result: dict[str, Any]) -> str:
    """How many steps a second agents are trained on."""
    text = f"""## Steps a second

RL² with a GRU of 64 on the grid with a hidden goal, 1,024 tasks side by side, with playing, proximal policy
optimisation and Adam; on one thread, the median of {result["turns"]} turns each, in turn with the others, and their
quartiles. By hand is a loop in plain PyTorch of the same size, with nothing around it; its memory is fed one step at a
time, where that of the library is fed the one before as well. Steps are counted once, however often they are gone
through.

"""
    rows = []
    for name, one in result["found"].items():
        who, times = name.split(", ")
        rows.append([who, times, f"{one['steps a second']:,.0f}", f"{one['low']:,.0f} to {one['high']:,.0f}"])
    return text + table(["", "times a trial is gone through", "steps a second", "quartiles"], rows)

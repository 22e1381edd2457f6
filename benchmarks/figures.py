"""Stored results as named figures, and what follows from them: comparisons and targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickstudy.storage.json import read_json

TARGETS = Path(__file__).parent / "targets.json"
OURS = "quickstudy"
LENT = "PyTorch + our allocator"
"""The family of the contestants in PyTorch to which quickstudy's setting of the allocator is lent."""
_LEVEL = 1.05  # ratios nearer to 1 than this are called level


@dataclass(frozen=True)
class Comparison:
    """ratio: how many times better quickstudy is than `other` at `what`; below 1 it is worse."""

    what: str
    other: str
    ratio: float

    @property
    def verdict(self) -> str:
        """'wins', 'loses' or 'level'."""
        return "wins" if self.ratio > _LEVEL else "loses" if self.ratio * _LEVEL < 1 else "level"


def headline(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """quickstudy's row: the plan that its tuner chose."""
    return next(row for row in rows if row.get("chosen"))


def best_of(rows: list[dict[str, Any]], family: str) -> float | None:
    """Seconds of the fastest of a family; None if nobody of it was measured."""
    return min((row["seconds"] for row in rows if row["family"] == family), default=None)


def figures(results: dict[str, Any]) -> dict[str, float]:
    """All figures by name, such as 'meta-step/conv4-1/higher'; those that were not found are missing."""
    found: dict[str, float] = {}
    for problem in _found(results, "meta-step", []):
        name, rows = f"meta-step/{problem['name']}", problem["rows"]
        found |= {f"{name}/{row['name']}": row["seconds"] for row in rows}
        found[f"{name}/{OURS}"] = headline(rows)["seconds"]
        best = {family: best_of(rows, family) for family in {row["family"] for row in rows}}
        found |= {f"{name}/best of {family}": seconds for family, seconds in best.items() if seconds is not None}
    for row in _rows(results, "memory"):
        if row.get("bytes") is not None:
            found[f"memory/{row['steps']}/{row['name']}"] = row["bytes"]
    found |= {f"episodes/{row['name']}": row["per_second"] for row in _rows(results, "episodes")}
    for section in ("adaptation", "compiling", "processes", "start-up"):
        rows = [row for row in _rows(results, section) if "seconds" in row]
        found |= {f"{section}/{row['name']}": row["seconds"] for row in rows}
        if section == "compiling" and rows and len(rows) == len(_rows(results, section)):
            found["compiling/slowest"] = max(row["seconds"] for row in rows)
    return found


def _found(results: dict[str, Any], section: str, nothing: Any) -> Any:
    return results[section]["found"] if section in results else nothing


def _rows(results: dict[str, Any], section: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _found(results, section, {"rows": []})["rows"]
    return rows


def comparisons(results: dict[str, Any]) -> Iterator[Comparison]:
    """quickstudy beside everyone else, wherever both have a figure."""
    for problem in _found(results, "meta-step", []):
        mine = headline(problem["rows"])["seconds"]
        for row in problem["rows"]:
            if row["family"] != OURS:
                yield Comparison(f"time of a meta-step, {problem['title']}", row["name"], row["seconds"] / mine)
    rows = {(row["steps"], row["name"]): row for row in _rows(results, "memory")}
    for (steps, name), row in rows.items():
        mine_row = rows[steps, f"{OURS}, recompute"]
        if name.startswith(OURS) or not (row.get("bytes") and mine_row.get("bytes")):
            continue
        many = f"{steps} inner step{'s' if steps > 1 else ''}, 84 × 84 images"
        yield Comparison(f"memory of a meta-step, {many}", name, row["bytes"] / mine_row["bytes"])
        yield Comparison(
            f"time of the meta-step that needs least memory, {many}", name, row["seconds"] / mine_row["seconds"]
        )
    speeds = {row["name"]: row["per_second"] for row in _rows(results, "episodes")}
    for name, speed in speeds.items():
        if not name.startswith(OURS):
            yield Comparison("episodes per second", name, speeds[OURS] / speed)


def targets(results: dict[str, Any]) -> Iterator[tuple[str, str, float | None, bool | None]]:
    """Of each target: what is measured, the bound in words, the figure (None if it is missing), whether it is met.

    Some have no bound: they stand beside a target to show what it leaves out, and nothing is met (None).
    """
    known = figures(results)
    for target in read_json(TARGETS):
        over, under = known.get(target["over"]), known.get(target["under"]) if "under" in target else 1.0
        value = None if over is None or under is None else over / under
        if "at_least" in target:
            bound, met = f"at least {target['at_least']:g}", value is not None and value >= target["at_least"]
            yield target["text"], bound, value, met
        elif "at_most" in target:
            bound, met = f"at most {target['at_most']:g}", value is not None and value <= target["at_most"]
            yield target["text"], bound, value, met
        else:
            yield target["text"], "none", value, None

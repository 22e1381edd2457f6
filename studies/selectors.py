"""Which selector is best on ASlib's scenarios, under the convention of the published table, and with all that is known.

A setting is a selector with options, and how many seconds of presolvers go before it. Settings are compared on the
scenarios that the published table does not have; the one with the best mean there is measured against the table. Needs
the scenarios and the table under $QUICKSTUDY_DATA/selection. What is measured is kept, so a stopped study goes on.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from quickstudy.registry import selectors
from quickstudy.select import measure, read_scenario
from quickstudy.storage.json import read_json, write_json
from studies.common import in_processes, store

KEPT = Path("runs/selectors")
CALLED = {"GLUHACK-2018": "GLUHACK-18"}
"""Scenarios that the published table calls otherwise."""
BESIDE = {"per-algorithm": "per_algorithm_RandomForestRegressor_regressor", "neighbours": "sunny"}
"""Selectors that are the same as one of the table's, which is to be reproduced."""


@dataclass(frozen=True)
class Setting:
    """presolve: share of the cutoff. bootstrap: learns from a sample, as the published selectors did."""

    selector: str
    options: dict[str, Any] = field(default_factory=dict)
    presolve: float = 0.0
    bootstrap: bool = False


SETTINGS = {
    **{f"{name}, as published": Setting(name, bootstrap=True) for name in ("per-algorithm", "neighbours", "pairwise")},
    "survival, as published": Setting("survival", {"leaf": 15}, bootstrap=True),
    "single-best": Setting("single-best"),
    **{
        f"{name}, presolved {share:.1%}": Setting(name, options, share)
        for share in (0.0, 0.005, 0.02)
        for name, options in {
            "neighbours": {},
            "pairwise": {"leaf": 3},
            "per-algorithm": {"tried": "sqrt", "leaf": 3},
            "survival": {"leaf": 5},
        }.items()
    },
}


def places() -> dict[str, Path]:
    """The scenarios that are at hand, by name."""
    folder = Path(os.environ["QUICKSTUDY_DATA"]) / "selection" / "aslib"
    return {path.stem: path for path in sorted(folder.glob("*.zip"))}


def table() -> dict[str, dict[str, float]]:
    """The published means over folds: approach to scenario to nPAR10; what chooses among approaches is left out."""
    with (Path(os.environ["QUICKSTUDY_DATA"]) / "selection" / "aslib-npar10-published.csv").open() as file:
        folds = defaultdict(lambda: defaultdict(list))  # type: ignore[var-annotated]
        for row in csv.DictReader(file):
            if not row["approach"].startswith("l1_"):
                folds[row["approach"]][row["scenario"]].append(float(row["npar10"]))
    return {approach: {name: mean(values) for name, values in rows.items()} for approach, rows in folds.items()}


def measured(cell: tuple[str, str]) -> dict[str, Any]:
    """One setting on one scenario; taken from what is kept where it was measured before."""
    name, title = cell
    kept, setting = KEPT / f"{name}-{title.replace(' ', '-')}.json", SETTINGS[title]
    if kept.exists():
        found: dict[str, Any] = read_json(kept)
        return found
    scenario = read_scenario(places()[name])
    part = selectors.part(setting.selector, **setting.options)
    presolve = setting.presolve * scenario.cutoff
    found = measure(part, scenario, presolve=presolve, bootstrap=setting.bootstrap).to_json()
    write_json(kept, found)
    print(name, title, found["npar10"], flush=True)
    return found


def chosen(means: dict[str, dict[str, float]], published: set[str]) -> str:
    """The setting with the best mean over the scenarios that are not published. means: by setting and scenario."""
    return min(means, key=lambda title: mean(v for name, v in means[title].items() if name not in published))


def compared(means: dict[str, dict[str, float]], references: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What is chosen beside the published means over exactly the published scenarios that are at hand."""
    some = next(iter(references.values()))
    names = [name for name in next(iter(means.values())) if CALLED.get(name, name) in some]
    best = chosen(means, set(names))
    theirs = {who: mean(rows[CALLED.get(name, name)] for name in names) for who, rows in references.items()}
    again = {
        ours: {name: means[f"{ours}, as published"][name] - references[who][CALLED.get(name, name)] for name in names}
        for ours, who in BESIDE.items()
    }  # fmt: skip
    every = {title: mean(rows[name] for name in names) for title, rows in means.items()}
    return {"scenarios": names, "chosen": best, "mean": every[best], "published": theirs, "all": every,
            "reproduced, less published": again}  # fmt: skip


def select() -> None:
    cells = [(name, title) for title in SETTINGS for name in places()]
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for (name, title), one in in_processes(measured, cells):
        found[title][name] = one
    means = {title: {name: one["npar10"]["mean"] for name, one in rows.items()} for title, rows in found.items()}
    store("selectors", {"compared": compared(means, table()), "figures": found})

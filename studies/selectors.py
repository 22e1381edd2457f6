"""Which selector is best on ASlib's scenarios, under the convention of the published table, and with all that is known.

A setting is a selector with options, with or without a plan. Settings are compared on the scenarios that the published
table does not have; the one with the least share of the gap there is measured against the table. Needs the scenarios
and the table under $QUICKSTUDY_DATA/selection. What is measured is kept, so a stopped study goes on.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

from quickstudy.registry import recipes, selectors
from quickstudy.runs.train import train
from quickstudy.select import measure, read_scenario
from quickstudy.storage.held import alone
from quickstudy.storage.json import read_json, write_json
from studies.common import in_processes, store

KEPT = Path("runs/selectors")
NETWORK = KEPT / "network"
"""The run that the selector 'in-context' asks."""
ITERATIONS = 1200
"""Of its training: minutes on one core."""
CALLED = {"GLUHACK-2018": "GLUHACK-18"}
"""Scenarios that the published table calls otherwise."""
BESIDE = {"per-algorithm": "per_algorithm_RandomForestRegressor_regressor", "neighbours": "sunny"}
"""Selectors that are the same as one of the table's, which is to be reproduced."""


@dataclass(frozen=True)
class Setting:
    """plan: as of `quickstudy.select.fit`. bootstrap: learns from a sample, as the published selectors did. tuned:
    whether it may be chosen; the others are there to compare with. most: instances x algorithms x features of a
    scenario that it is measured on, for what takes hours on all of them."""

    selector: str
    options: dict[str, Any] = field(default_factory=dict)
    plan: bool = False
    bootstrap: bool = False
    tuned: bool = False
    most: int = 10**9


SETTINGS = {
    "single-best": Setting("single-best"),
    "shared-forest, planned": Setting("shared-forest", plan=True, tuned=True),
    "shared-forest": Setting("shared-forest", tuned=True),
    "single-best, planned": Setting("single-best", plan=True),
    "neighbours, as published": Setting("neighbours", bootstrap=True),
    "shared-forest, on a sample": Setting("shared-forest", bootstrap=True),
    "per-algorithm, as published": Setting("per-algorithm", bootstrap=True, most=200_000),
    "ensemble, planned": Setting("ensemble", plan=True, most=350_000),
    "in-context": Setting("in-context", {"run": str(NETWORK), "most": 256}, tuned=True),
}
"""In the order in which they are measured."""


def places() -> dict[str, Path]:
    """The scenarios that are at hand, by name."""
    folder = Path(os.environ["QUICKSTUDY_DATA"]) / "selection" / "aslib"
    return {path.stem: path for path in sorted(folder.glob("*.zip"))}


def table() -> dict[str, dict[str, dict[int, float]]]:
    """The published nPAR10: approach to scenario to fold; what chooses among approaches is left out."""
    with (Path(os.environ["QUICKSTUDY_DATA"]) / "selection" / "aslib-npar10-published.csv").open() as file:
        folds = defaultdict(lambda: defaultdict(dict))  # type: ignore[var-annotated]
        for row in csv.DictReader(file):
            if not row["approach"].startswith("l1_"):
                folds[row["approach"]][row["scenario"]][int(row["fold"])] = float(row["npar10"])
    return {approach: dict(rows) for approach, rows in folds.items()}


def means_of(folds: dict[str, dict[str, dict[int, float]]]) -> dict[str, dict[str, float]]:
    """Over the folds."""
    return {who: {name: mean(one.values()) for name, one in rows.items()} for who, rows in folds.items()}


def alike(found: dict[str, dict[str, Any]], folds: dict[str, dict[str, dict[int, float]]]) -> dict[str, dict[str, int]]:
    """How many folds of what is reproduced are within .01 of the published figure, and of how many."""
    told = {}
    for ours, who in BESIDE.items():
        apart = [
            abs(fold["npar10"] - folds[who][CALLED.get(name, name)][fold["fold"]])
            for name, one in found[f"{ours}, as published"].items() if CALLED.get(name, name) in folds[who]
            for fold in one["folds"] if fold["npar10"] is not None
        ]  # fmt: skip
        told[ours] = {"within": sum(one <= 0.01 for one in apart), "of": len(apart)}
    return told


def measured(cell: tuple[str, str]) -> dict[str, Any] | None:
    """One setting on one scenario, None where that is too large for it; what was measured before is taken."""
    name, title = cell
    kept, setting = KEPT / f"{name}-{title.replace(' ', '-')}.json", SETTINGS[title]
    scenario = read_scenario(places()[name])
    if scenario.x.size * len(scenario.algorithms) > setting.most:
        return None
    if kept.exists():
        found: dict[str, Any] = read_json(kept)
        return found
    if setting.selector == "in-context":
        trained()
    part = selectors.part(setting.selector, **setting.options)
    found = measure(part, scenario, plan=setting.plan, bootstrap=setting.bootstrap).to_json()
    write_json(kept, found)
    print(name, title, found["npar10"], flush=True)
    return found


def gap(found: dict[str, Any]) -> float:
    """The share of the gap between single best and oracle that is left, over all instances of a scenario.

    nPAR10, the mean of such shares over folds, can be anything where a fold has next to no gap; settings are chosen by
    this.
    """
    folds = found["folds"]
    left = sum(fold["count"] * (fold["par10"] - fold["oracle"]) for fold in folds)
    return float(left / sum(fold["count"] * (fold["single"] - fold["oracle"]) for fold in folds))


def chosen(gaps: dict[str, dict[str, float]], published: set[str]) -> str:
    """The setting with the least mean gap over the scenarios that are not published. gaps: by setting and scenario."""
    return min(gaps, key=lambda title: mean(v for name, v in gaps[title].items() if name not in published))


def compared(
    means: dict[str, dict[str, float]], gaps: dict[str, dict[str, float]], references: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """What is chosen beside the published means over exactly the published scenarios that are at hand.

    means: nPAR10 by setting and scenario. gaps: of the settings that may be chosen.
    """
    some = next(iter(references.values()))
    names = [name for name in next(iter(means.values())) if CALLED.get(name, name) in some]
    best = chosen(gaps, set(names))
    theirs = {who: mean(rows[CALLED.get(name, name)] for name in names) for who, rows in references.items()}
    again = {
        ours: {name: value - references[who][CALLED.get(name, name)] for name, value in rows.items() if name in names}
        for ours, who in BESIDE.items()
        if (rows := means[f"{ours}, as published"])
    }  # fmt: skip
    every = {title: mean(rows[name] for name in names) for title, rows in means.items() if rows.keys() >= {*names}}
    tuning = {title: mean(v for name, v in rows.items() if name not in names) for title, rows in gaps.items()}
    return {"scenarios": names, "chosen": best, "mean": every[best], "published": theirs, "all": every,
            "gap left on the others": tuning, "reproduced, less published": again}  # fmt: skip


def trained() -> None:
    """The network of the recipe 'runtimes', on made-up scenarios alone; taken as it is where it is there."""
    with alone(NETWORK):  # other processes wait for it
        if not NETWORK.exists():
            begun = NETWORK.with_suffix(".begun")
            train(replace(recipes["runtimes"](), iterations=ITERATIONS), out=begun, overwrite=True, quiet=True)
            begun.rename(NETWORK)


def select() -> None:
    cells = [(name, title) for title in SETTINGS for name in places()]
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for (name, title), one in in_processes(measured, cells):
        if one is not None:
            found[title][name] = one
    means = {title: {name: one["npar10"]["mean"] for name, one in rows.items()} for title, rows in found.items()}
    gaps = {t: {name: gap(one) for name, one in rows.items()} for t, rows in found.items() if SETTINGS[t].tuned}
    folds = table()
    references = means_of(folds)
    told = {"compared": compared(means, gaps, references), "folds alike": alike(found, folds)}
    store("selectors", {**told, "figures": found, "references": references})

"""Scenarios made up for tests, and their files as ASlib has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quickstudy.select import Scenario, Step

DESCRIPTION = """
scenario_id: MADE-UP
performance_measures: runtime
performance_type:
- runtime
maximize:
- false
algorithm_cutoff_time: {cutoff}
features_cutoff_time: '?'
default_steps:
- first
feature_steps:
  first:
    provides: [size, depth]
  second:
    provides: [noise]
    requires: [first]
"""


STEPS = {"first": Step(("size", "depth")), "second": Step(("noise",), ("first",))}


def made_up(count: int = 60, seed: int = 0) -> Scenario:
    """Three algorithms: `left` is fast where the size is below 0, `right` where it is above, and `never` nowhere."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 3))
    fast, slow = draw.uniform(1, 5, count), np.where(draw.random(count) < 0.5, 60.0, np.inf)
    below = x[:, 0] < 0
    times = np.stack([np.where(below, fast, slow), np.full(count, np.inf), np.where(below, slow, fast)], axis=1)
    x[draw.random(x.shape) < 0.05] = np.nan
    return Scenario.of(
        x, times, cutoff=100.0, name="MADE-UP", algorithms=("left", "never", "right"),
        features=("size", "depth", "noise"), steps=STEPS,
        costs=np.stack([np.full(count, 0.5), np.full(count, 0.25)], axis=1), folds=np.arange(count) % 5 + 1,
        instances=tuple(f"instance, no. {i:03}" for i in range(count)),
    )  # fmt: skip


def number(value: float) -> str:
    return repr(float(value)) if np.isfinite(value) else "?"


def write(scenario: Scenario, folder: Path) -> Path:
    """The scenario as a folder of ASlib's files, rows from the last to the first."""
    folder.mkdir(parents=True)
    (folder / "description.txt").write_text(DESCRIPTION.format(cutoff=scenario.cutoff))
    order = [*reversed(range(len(scenario.instances)))]
    head = "@RELATION r\n% a comment\n\n@ATTRIBUTE instance_id STRING\n@attribute repetition NUMERIC\n"
    runs = [
        f"'{scenario.instances[i]}',1,{algorithm},{number(scenario.times[i, a])},"
        f"{'ok' if scenario.finished[i, a] else 'timeout'}"
        for i in order
        for a, algorithm in enumerate(scenario.algorithms)
    ]
    columns = "@ATTRIBUTE algorithm STRING\n@ATTRIBUTE runtime NUMERIC\n@ATTRIBUTE runstatus {ok, timeout, memout}\n"
    (folder / "algorithm_runs.arff").write_text(head + columns + "@DATA\n" + "\n".join(runs) + "\n")
    tables = {
        "feature_values": (scenario.features, scenario.x),
        "feature_costs": ([*scenario.steps], scenario.costs),
        "cv": (["fold"], scenario.folds[:, None]),
    }
    for name, (names, values) in tables.items():
        columns = "".join(f"@ATTRIBUTE {one} NUMERIC\n" for one in names)
        rows = [f'"{scenario.instances[i]}",1,' + ",".join(map(number, values[i])) for i in order]
        (folder / f"{name}.arff").write_text(head + columns + "@data\n" + "\n".join(rows) + "\n")
    return folder

"""Agents: what a few episodes in a new environment are worth, beside the best that there can be.

`python -m studies.agents ROW [SEED …]` trains and measures, and keeps what it found; `store` makes the result of all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.engine import resolve_device
from quickstudy.errors import ConfigError
from quickstudy.registry import recipes
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.provenance import commit, machine
from studies.agents_figures import Figures, descending, elsewhere, measured
from studies.agents_rivals import by_index, by_posterior_means, by_rules, from_scratch, without_adaptation
from studies.common import RESULTS, store

SEEDS = (0, 1, 2)
KEPT, STORED = Path("runs/agents"), RESULTS / "agents.json"
_SAME = ("steps", "episodes of a trial", "horizon", "tasks of a step", "episodes")


@dataclass(frozen=True)
class Row:
    """What is trained, and how many test tasks it is measured on. changes: of the recipe; those of its tasks and its
    learner apart. first: options of the tasks, and outer steps, of a run that this one begins from. also: what else is
    measured, by its name."""

    recipe: str
    episodes: int = 4000
    changes: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)
    first: tuple[dict[str, Any], int] | None = None
    also: dict[str, Callable[[qs.Run, int], Any]] = field(default_factory=dict)

    @property
    def before(self) -> Row | None:
        """What is trained first."""
        if self.first is None:
            return None
        tasks, steps = self.first
        changes = self.changes | {"iterations": steps, "schedule": "none", "validate_every": steps}  # the last is kept
        return replace(self, changes=changes, tasks=self.tasks | tasks, first=None)

    def config(self, seed: int) -> qs.RunConfig:
        made = replace(recipes[self.recipe](), **self.changes, seed=seed, device="cpu")
        tasks = replace(made.tasks, options={**made.tasks.options, **self.tasks})
        learner = replace(made.learner, options={**made.learner.options, **self.learner})
        return replace(made, tasks=tasks, learner=learner)


def _bandit(arms: int, pulls: int, **more: Any) -> dict[str, Any]:
    return {"tasks": {"arms": arms}, "changes": {"shots": pulls, "queries": pulls, **more}}


_LONG = {"memory": "fast", "discount": 0.99, "trace": 0.95, "unit": 12.0}
_RIVALS = {"from scratch": from_scratch, "without adaptation": without_adaptation}
_HIGHWAY_ENV = partial(elsewhere, "gym", 400, id="highway-rules", past=True)
ROWS = {
    "bandits, 5 arms, 10 pulls": Row("rl-bandit"),
    "bandits, 10 arms, 100 pulls": Row(
        "rl-bandit",
        4000,
        learner=_LONG,
        also={"by rules": by_index},
        **_bandit(10, 100, meta_batch=256, iterations=2000),
    ),
    "grid": Row("rl-gridworld"),
    "decision processes": Row("rl-mdp", 1000, also={"by rules": by_posterior_means}),
    "point": Row("rl-point-maml", 400, also={"after inner steps": descending}),
    "highway": Row("rl-highway-rl2", also={"in highway-env": _HIGHWAY_ENV, "by rules": by_rules}),
    "arcade": Row(
        "rl-arcade-rl2", 4000, first=({"plain": 1.0}, 50), also={"from scratch": partial(from_scratch, tasks=(100, 20))}
    ),
    "cheetah": Row("rl-cheetah-rl2", 300, tasks={"workers": 0}, also=_RIVALS),
    "reacher": Row("rl-reacher-rl2", 1000, tasks={"workers": 0}, also=_RIVALS),
}


def trained(name: str, seed: int) -> qs.Run:
    """The run of a row and a seed, which goes on where it was stopped, and is kept."""
    row, place = ROWS[name], KEPT / f"{name} {seed}"
    config = row.config(seed)
    if row.before is not None:
        first = _trained(row.before.config(seed), KEPT / f"{name} first {seed}")
        config = replace(config, start=str(first.folder.absolute()))
    run = _trained(config, place)
    print(f"{name}, seed {seed}: {run.seconds:.0f} s", flush=True)
    return run


def _trained(config: qs.RunConfig, place: Path) -> qs.Run:
    return qs.resume(place, quiet=True) if place.exists() else qs.train(config, out=place, quiet=True)


def one(name: str, seed: int) -> None:
    """One training of a row; what is not yet measured of it is, and kept."""
    row, run = ROWS[name], trained(name, seed)
    kept = _kept(name, seed)
    found = read_json(kept) if kept.exists() else {}
    measures: dict[str, Callable[[qs.Run, int], Any]] = {"rows": measured, **row.also}
    for what, measure in measures.items():
        if what not in found:
            found |= facts(run, row) | {what: measure(run, row.episodes)}
            keep(name, seed, found)


def facts(run: qs.Run, row: Row) -> dict[str, Any]:
    config = run.config
    runs = [run, qs.Run(config.start)] if config.start else [run]
    told = {"seconds": sum(one.seconds for one in runs), "steps": sum(one.config.iterations for one in runs)}
    told |= {"episodes of a trial": config.queries}
    told |= {"horizon": run.parts.source.environment.horizon, "tasks of a step": config.meta_batch}
    return told | {"commit": commit(), "machine": machine(resolve_device("cpu")), "episodes": row.episodes}


def keep(name: str, seed: int, found: dict[str, Any]) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    write_json(_kept(name, seed), found)


def _kept(name: str, seed: int) -> Path:
    return KEPT / f"{name} {seed}.json"


def over_seeds(rows: list[Figures]) -> Figures:
    """The mean over seeds of each figure, and every seed's; intervals, and counts of tasks, are those of one seed."""
    found: Figures = {}
    for who in rows[0]:
        found[who] = {}
        for name, one in rows[0][who].items():
            means = [row[who][name]["mean"] for row in rows]
            ci95 = float(np.mean([row[who][name].get("ci95", 0.0) for row in rows]))
            told = {"mean": float(np.mean(means)), "ci95": ci95, "count": one.get("count", 0), "seeds": means}
            found[who][name] = told  # type: ignore[assignment]
    return found


def collect() -> dict[str, Any]:
    """All rows that were kept, each part over the seeds that it was measured of; others as they were stored before,
    each with its commit."""
    found: dict[str, Any] = read_json(STORED)["found"] if STORED.exists() else {}
    for name, row in ROWS.items():
        kept = {seed: read_json(path) for seed in SEEDS if (path := _kept(name, seed)).exists()}
        if not kept:
            continue
        facts = [{key: one[key] for key in _SAME} for one in kept.values()]
        if any(one != facts[0] for one in facts):
            raise ConfigError(f"The seeds of {name} were trained or measured differently: {facts}. Run them anew.")
        lists = {key: [one[key] for one in kept.values()] for key in ("seconds", "commit", "machine")}
        found[name] = {"seeds": list(kept), **facts[0], **lists}
        for part in ("rows", *row.also):
            there = [one[part] for one in kept.values() if part in one]
            print(f"{name}, {part}: measured of {len(there)} of {len(SEEDS)} seeds.", flush=True)
            if there:
                found[name][part] = over_seeds(there)
    return found


def agents() -> None:
    """Every row, and the result."""
    torch.set_num_threads(1)
    for name in ROWS:
        for seed in SEEDS:
            one(name, seed)
    store("agents", {"found": collect()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "store":
        store("agents", {"found": collect()})
    else:
        for given in sys.argv[2:] or SEEDS:
            one(sys.argv[1], int(given))

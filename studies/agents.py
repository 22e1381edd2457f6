"""Agents: what a few episodes in a new environment are worth, beside the best that there can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.registry import recipes
from quickstudy.rl.agents.gradient import PolicyGradientAgent
from studies.common import store

SEEDS, EPISODES, STEPS = (0, 1, 2), 4000, 5
FEW = 400  # tasks of agents that take inner steps, each of many episodes


def trained(recipe: str, seed: int, place: str) -> qs.Run:
    config = replace(recipes[recipe](), seed=seed, device="cpu")
    run = qs.train(config, out=Path(place, f"{recipe} {seed}"), quiet=True)
    print(f"{recipe}, seed {seed}: {run.seconds:.0f} s", flush=True)
    return run


def figures(result: qs.Result) -> dict[str, Any]:
    """The return of an episode, on average and in each, of the agent and of everyone else."""

    def told(each: dict[str, Any]) -> dict[str, Any]:
        return {name: {"mean": one.mean, "ci95": one.ci95, "count": one.count} for name, one in each.items()}

    own = {"return": result, **result.further}
    counts = {
        n: {"mean": r.mean, "ci95": r.ci95, "count": getattr(r, "count", result.episodes)} for n, r in own.items()
    }
    return {"trained": counts} | {name: told(each) for name, each in result.references.items()}


def over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over seeds of each figure, with the least and the most; intervals are those of single seeds."""
    found: dict[str, Any] = {}
    for who in rows[0]:
        found[who] = {}
        for name in rows[0][who]:
            means = [row[who][name]["mean"] for row in rows]
            ci95 = float(np.mean([row[who][name]["ci95"] for row in rows]))
            found[who][name] = {"mean": float(np.mean(means)), "ci95": ci95, "seeds": means}
    return found


def remembering(recipe: str, place: str) -> dict[str, Any]:
    """RL² over test tasks, and how long it was trained."""
    runs = [trained(recipe, seed, place) for seed in SEEDS]
    rows = [figures(run.evaluate(episodes=EPISODES)) for run in runs]
    config = runs[0].config
    facts = {
        "episodes of a trial": config.queries,
        "seconds": [run.seconds for run in runs],
        "steps": config.iterations,
    }
    return facts | {"rows": over_seeds(rows)}


def descending(recipe: str, place: str) -> dict[str, Any]:
    """MAML after each number of inner steps."""
    runs = [trained(recipe, seed, place) for seed in SEEDS]
    rows = []
    for run in runs:
        learner, row = run.learner, {}
        assert isinstance(learner, PolicyGradientAgent)
        for steps in range(STEPS + 1):
            engine = replace(run.parts.engine, learner=learner.with_steps(steps))
            told = evaluate(engine, run.params, run.parts.source, "test", FEW, compare_supports=False)
            row[str(steps)] = {"mean": told.mean, "ci95": told.ci95, "count": told.episodes}
        rows.append({"after inner steps": row})
        print({steps: round(one["mean"], 2) for steps, one in row.items()}, flush=True)
    return {"seconds": [run.seconds for run in runs], "rows": over_seeds(rows)}


def agents() -> None:
    """Bandits and a grid, whose optimum is known; and a point that must find its goal."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {"seeds": list(SEEDS), "episodes": EPISODES, "few": FEW}
    with TemporaryDirectory() as place:
        for recipe in ("rl-bandit", "rl-gridworld"):
            found[recipe] = remembering(recipe, place)
            store("agents", found)
        found["rl-point-maml"] = descending("rl-point-maml", place)
        store("agents", found)

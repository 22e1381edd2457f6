"""Agents: what a few episodes in a new environment are worth, beside the best that there can be.

`python -m studies.agents ROW [SEED …]` trains and measures, and keeps what it found; `store` makes the result of all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.engine import resolve_device
from quickstudy.errors import ConfigError
from quickstudy.evaluation.estimate import Estimate
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.registry import learners, models, recipes, sources
from quickstudy.rl.agents.gradient import PolicyGradientAgent
from quickstudy.rl.agents.recurrent import RecurrentAgent
from quickstudy.rl.environments.driver import idm_driver, surely
from quickstudy.rl.play import Memory
from quickstudy.rl.source import EnvironmentSource
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.provenance import commit, machine
from studies.common import RESULTS, interval, store

SEEDS, STEPS = (0, 1, 2), 5
KEPT, STORED = Path("runs/agents"), RESULTS / "agents.json"
SCRATCH, EPISODES_OF_SCRATCH = 10, 200  # tasks that are learned from nothing, and episodes that each is judged by
_TIMES = (1, 100)
_AT_ONCE = 512  # tasks
_SAME = ("steps", "episodes of a trial", "horizon", "tasks of a step", "episodes")
Figures = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Row:
    """What is trained, and how many test tasks it is measured on. changes: of the recipe; those of its tasks and its
    learner apart. also: what else is measured, by its name."""

    recipe: str
    episodes: int = 4000
    changes: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)
    also: dict[str, Callable[[qs.Run, int], Any]] = field(default_factory=dict)

    def config(self, seed: int) -> qs.RunConfig:
        made = replace(recipes[self.recipe](), **self.changes, seed=seed, device="cpu")
        tasks = replace(made.tasks, options={**made.tasks.options, **self.tasks})
        learner = replace(made.learner, options={**made.learner.options, **self.learner})
        return replace(made, tasks=tasks, learner=learner)


def figures(result: qs.Result) -> Figures:
    """The return of an episode, on average and in each, of the agent and of everyone else."""

    def told(each: dict[str, Any]) -> dict[str, Any]:
        return {name: {"mean": one.mean, "ci95": one.ci95, "count": one.count} for name, one in each.items()}

    own = {"return": result, **result.further}
    counts = {
        n: {"mean": r.mean, "ci95": r.ci95, "count": getattr(r, "count", result.episodes)} for n, r in own.items()
    }
    return {"trained": counts} | {name: told(each) for name, each in result.references.items()}


def measured(run: qs.Run, episodes: int) -> Figures:
    """The figures over test tasks; what is remembered in single tasks; and the share of episodes that ended early."""
    result = evaluate(run.parts.engine, run.params, run.parts.source, "test", episodes)
    return figures(result) | in_pairs(run, run.parts.source, episodes)


def returns(run: qs.Run, source: EnvironmentSource, episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """What each episode of test trials brings, and whether the environment's rules ended it, both (tasks, episodes)."""
    asked = torch.arange(episodes, device=run.parts.engine.device)
    parts = [source.episodes("test", part).query for part in asked.split(_AT_ONCE)]
    brought, early = [], []
    for query in parts:
        told = run.spec.target.require_actions("The study", "").outcome(query.y)
        its = [query.mask & (told.episode == i) for i in range(source.sampling.queries)]
        brought.append(torch.stack([(told.reward * one).sum(1) for one in its], 1))
        early.append(torch.stack([one.sum(1) < source.environment.horizon for one in its], 1))
    return torch.cat(brought).double().cpu().numpy(), torch.cat(early).double().cpu().numpy()


def in_pairs(run: qs.Run, source: EnvironmentSource, episodes: int, whole: bool = False) -> Figures:
    """What is gained over the same agent with its memory wiped, in the same tasks with the same chance, where there is
    one; and the share of episodes that ended early. whole: also what both bring."""
    under = source.under(run.learner, run.params)
    own, early = returns(run, under, episodes)
    found = {"trained": _columns(own)} if whole else {}
    if isinstance(run.learner, RecurrentAgent):
        wiped, _ = returns(run, replace(under, agent=run.learner.blank()), episodes)
        found |= {"its memory wiped": _columns(wiped)} if whole else {}
        found["gained by remembering"] = _columns(own - wiped)
    return found | {"ended early": _columns(early)}


def _columns(values: np.ndarray) -> dict[str, dict[str, float]]:
    each = {f"return in episode {i + 1}": interval(values[:, i].tolist()) for i in range(values.shape[1])}
    return {"return": interval(values.mean(1).tolist()), **each}


def descending(run: qs.Run, episodes: int) -> Figures:
    """MAML after each number of inner steps."""
    learner, row = run.learner, {}
    assert isinstance(learner, PolicyGradientAgent)
    for steps in range(STEPS + 1):
        engine = replace(run.parts.engine, learner=learner.with_steps(steps))
        told = evaluate(engine, run.params, run.parts.source, "test", episodes, compare_supports=False)
        row[str(steps)] = {"mean": told.mean, "ci95": told.ci95, "count": told.episodes}
    return {"after inner steps": row}


def elsewhere(source: str, episodes: int, run: qs.Run, _: int, **options: Any) -> Figures:
    """The same agent in environments of another simulator."""
    other = sources.make(source, **options).sampled(run.parts.source.sampling).seeded(run.config.seed)
    return in_pairs(run, other, episodes, whole=True)


def from_scratch(run: qs.Run, _: int) -> Figures:
    """Proximal policy optimisation in single test tasks: with the data of one trial, and with 100 times as much."""
    source, trial = run.parts.source, run.config.queries
    found: dict[str, list[float]] = {f"{times} x": [] for times in _TIMES}
    for index in range(SCRATCH):
        own = source.alone("test", index)
        for times in _TIMES:
            lanes = 1 if times == 1 else 10
            config = replace(
                run.config, name="scratch", learner=learners.part("ppo", unit=run.learner.unit, discount=0.97),
                meta_batch=lanes, shots=trial, queries=trial, iterations=times // lanes, lr=3e-3, reuse=10, parts=1,
                model=models.part("mlp", width=64), validate_every=10**6, checkpoint_every=10**6,
                validation_episodes=2,
            )  # fmt: skip
            with TemporaryDirectory() as place:
                alone = qs.train(config, source=own, out=Path(place, "run"), quiet=True)
                result = evaluate(
                    alone.parts.engine, alone.params, own.under(alone.learner, alone.params), "test",
                    EPISODES_OF_SCRATCH // trial, compare_supports=False,
                )  # fmt: skip
            found[f"{times} x"].append(result.mean)
    each = {name: Estimate.of_draws(torch.tensor(values)) for name, values in found.items()}  # few: Student's interval
    return {"from scratch": {n: {"mean": e.mean, "ci95": e.ci95, "count": SCRATCH} for n, e in each.items()}}


def without_adaptation(run: qs.Run, episodes: int) -> Figures:
    """Proximal policy optimisation over all training tasks, with the same episodes: the best fixed policy."""
    unit, discount = run.learner.unit, run.learner.discount
    config = replace(
        run.config, name="fixed", learner=learners.part("ppo", unit=unit, discount=discount, trace=run.learner.trace),
        model=models.part("mlp", width=64), validate_every=10**6, checkpoint_every=10**6,
    )  # fmt: skip
    with TemporaryDirectory() as place:
        fixed = qs.train(config, out=Path(place, "run"), quiet=True)
        return {"one policy for all": figures(fixed.evaluate(episodes=episodes, compare_supports=False))["trained"]}


def by_rules(run: qs.Run, episodes: int) -> Figures:
    """The Intelligent Driver Model at the wheel: one that does not know what pays, and one that does."""
    source, found = run.parts.source, {}
    for name, knows in (("the IDM driver", False), ("the IDM driver, told the speed that pays", True)):
        brought = []
        for part in torch.arange(episodes).split(_AT_ONCE):
            stage = source.stage("test", part)
            driver = idm_driver(source.environment, **({"speed": stage.task["pays"]} if knows else {}))
            played = stage.play(driver, {}, run.config.queries)
            brought.append(_by_episode(played.reward, played.mask, played.episode, run.config.queries))
        found[name] = _columns(torch.cat(brought).double().numpy())
    return found


def by_posterior_means(run: qs.Run, episodes: int) -> Figures:
    """In each state of a decision process what has the largest posterior mean, of a normal prior of mean and variance
    1: nothing is learned from other tasks, and nothing planned."""
    world, count = run.parts.source.environment, run.config.queries
    outputs, unit = world.actions.outputs, run.spec.format.unit

    def policy(memory: Memory, x: Any, first: torch.Tensor) -> tuple[Memory, torch.Tensor]:
        seen, done, paid = x.split([world.states, world.choices, 2], -1)
        pair = memory["last"][..., None] * done[:, None]  # 0 where nothing was done before
        memory = {
            "sums": memory["sums"] + unit * paid[:, :1, None] * pair,
            "counts": memory["counts"] + pair,
            "last": seen,
        }
        means = ((1 + memory["sums"]) / (1 + memory["counts"]) * seen[..., None]).sum(1)
        return memory, surely(means.argmax(1), outputs)

    brought = []
    for part in torch.arange(episodes).split(_AT_ONCE):
        empty = torch.zeros(len(part), world.states, world.choices)
        stage = run.parts.source.stage("test", part)
        played = stage.play(policy, {"sums": empty, "counts": empty, "last": empty[..., 0]}, count)
        brought.append(_by_episode(played.reward, played.mask, played.episode, count))
    return {"choosing by the posterior mean of each pair": _columns(torch.cat(brought).double().numpy())}


def _by_episode(reward: torch.Tensor, mask: torch.Tensor, episode: torch.Tensor, count: int) -> torch.Tensor:
    """What each episode of a trial brings, (n, count), of steps (n, T)."""
    return torch.stack([(reward * (mask & (episode == i))).sum(1) for i in range(count)], 1)


def _bandit(arms: int, pulls: int, **more: Any) -> dict[str, Any]:
    return {"tasks": {"arms": arms}, "changes": {"shots": pulls, "queries": pulls, **more}}


_RIVALS = {"from scratch": from_scratch, "without adaptation": without_adaptation}
_HIGHWAY_ENV = partial(elsewhere, "gym", 400, id="highway-rules", past=True)
ROWS = {
    "bandits, 5 arms, 10 pulls": Row("rl-bandit"),
    "bandits, 10 arms, 100 pulls": Row("rl-bandit", 1000, learner={"unit": 10.0}, **_bandit(10, 100, lr=5e-3)),
    "grid": Row("rl-gridworld"),
    "decision processes": Row("rl-mdp", 1000, also={"by rules": by_posterior_means}),
    "point": Row("rl-point-maml", 400, also={"after inner steps": descending}),
    "highway": Row("rl-highway-rl2", also={"in highway-env": _HIGHWAY_ENV, "by rules": by_rules}),
    "arcade": Row("rl-arcade-rl2", 1000, also=_RIVALS),
    "cheetah": Row("rl-cheetah-rl2", 300, tasks={"workers": 0}, also=_RIVALS),
    "reacher": Row("rl-reacher-rl2", 1000, tasks={"workers": 0}, also=_RIVALS),
}


def trained(name: str, seed: int) -> qs.Run:
    """The run of a row and a seed, which goes on where it was stopped, and is kept."""
    place = KEPT / f"{name} {seed}"
    run = qs.resume(place, quiet=True) if place.exists() else qs.train(ROWS[name].config(seed), out=place, quiet=True)
    print(f"{name}, seed {seed}: {run.seconds:.0f} s", flush=True)
    return run


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
    told = {"seconds": run.seconds, "steps": config.iterations, "episodes of a trial": config.queries}
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

"""What agents bring: figures of test tasks, the studies' share of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.registry import sources
from quickstudy.rl.agents.gradient import PolicyGradientAgent
from quickstudy.rl.agents.recurrent import RecurrentAgent
from quickstudy.rl.source import EnvironmentSource
from studies.common import interval

STEPS, AT_ONCE = 5, 512  # inner steps, tasks
Figures = dict[str, dict[str, dict[str, float]]]


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
    parts = [source.episodes("test", part).query for part in asked.split(AT_ONCE)]
    brought, early = [], []
    for query in parts:
        told = run.spec.target.require_actions("The study", "").outcome(query.y)
        count = source.sampling.queries
        brought.append(by_episode(told.reward, query.mask, told.episode, count))
        steps = by_episode(torch.ones_like(told.reward), query.mask, told.episode, count)
        early.append(steps < source.environment.horizon)
    return torch.cat(brought).double().cpu().numpy(), torch.cat(early).double().cpu().numpy()


def in_pairs(run: qs.Run, source: EnvironmentSource, episodes: int, whole: bool = False) -> Figures:
    """What is gained over the same agent with its memory wiped, in the same tasks with the same chance, where there is
    one; and the share of episodes that ended early. whole: also what both bring."""
    under = source.under(run.learner, run.params)
    own, early = returns(run, under, episodes)
    found = {"trained": columns(own)} if whole else {}
    if isinstance(run.learner, RecurrentAgent):
        wiped, _ = returns(run, replace(under, agent=run.learner.blank()), episodes)
        found |= {"its memory wiped": columns(wiped)} if whole else {}
        found["gained by remembering"] = columns(own - wiped)
    return found | {"ended early": columns(early)}


def columns(values: np.ndarray) -> dict[str, dict[str, float]]:
    each = {f"return in episode {i + 1}": interval(values[:, i].tolist()) for i in range(values.shape[1])}
    return {"return": interval(values.mean(1).tolist()), **each}


def by_episode(reward: torch.Tensor, mask: torch.Tensor, episode: torch.Tensor, count: int) -> torch.Tensor:
    """What each episode of a trial brings, (n, count), of steps (n, T)."""
    return torch.stack([(reward * (mask & (episode == i))).sum(1) for i in range(count)], 1)


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

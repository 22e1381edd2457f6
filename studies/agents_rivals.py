"""What agents are held against: rules written by hand, one policy for all tasks, and learning from scratch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import quickstudy as qs
from quickstudy.evaluation.estimate import Estimate
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.registry import learners, models
from quickstudy.rl.environments.driver import idm_driver, surely
from quickstudy.rl.play import Memory, Policy, Stage
from studies.agents_figures import AT_ONCE, Figures, by_episode, columns, figures

SCRATCH, EPISODES_OF_SCRATCH = 10, 200  # tasks that are learned from nothing, and episodes that each is judged by
_TIMES = (1, 100)


def _played(run: qs.Run, episodes: int, begin: Callable[[Stage], tuple[Policy, Memory]]) -> dict[str, dict[str, float]]:
    """What a policy brings in test tasks. begin: the policy of the tasks of a stage, and what it remembers at first."""
    brought = []
    for part in torch.arange(episodes).split(AT_ONCE):
        stage = run.parts.source.stage("test", part)
        played = stage.play(*begin(stage), run.config.queries)
        brought.append(by_episode(played.reward, played.mask, played.episode, run.config.queries))
    return columns(torch.cat(brought).double().numpy())


def by_rules(run: qs.Run, episodes: int) -> Figures:
    """The Intelligent Driver Model at the wheel: one that does not know what pays, and one that does."""
    highway = run.parts.source.environment
    return {
        "the IDM driver": _played(run, episodes, lambda stage: (idm_driver(highway), {})),
        "the IDM driver, told the speed that pays": _played(
            run, episodes, lambda stage: (idm_driver(highway, speed=stage.task["pays"]), {})
        ),
    }


def by_posterior_means(run: qs.Run, episodes: int) -> Figures:
    """In each state of a decision process what has the largest posterior mean, of a normal prior of mean and variance
    1: nothing is learned from other tasks, and nothing planned."""
    world, unit = run.parts.source.environment, run.spec.format.unit

    def policy(memory: Memory, x: Any, first: torch.Tensor) -> tuple[Memory, torch.Tensor]:
        seen, done, paid = x.split([world.states, world.choices, 2], -1)
        pair = memory["last"][..., None] * done[:, None]  # 0 where nothing was done before
        sums, counts = memory["sums"] + unit * paid[:, :1, None] * pair, memory["counts"] + pair
        means = ((1 + sums) / (1 + counts) * seen[..., None]).sum(1)
        return {"sums": sums, "counts": counts, "last": seen}, surely(means.argmax(1), world.actions.outputs)

    def begin(stage: Stage) -> tuple[Policy, Memory]:
        empty = torch.zeros(len(stage.keys), world.states, world.choices)
        return policy, {"sums": empty, "counts": empty, "last": empty[..., 0]}

    return {"choosing by the posterior mean of each pair": _played(run, episodes, begin)}


def by_index(run: qs.Run, episodes: int) -> Figures:
    """The arm of a Bernoulli bandit with the largest index, see `indices`, from a uniform prior: about the best."""
    bandit, unit, pulls = run.parts.source.environment, run.spec.format.unit, run.config.queries
    table = indices(pulls)

    def policy(memory: Memory, x: Any, first: torch.Tensor) -> tuple[Memory, torch.Tensor]:
        _, done, paid = x.split([1, bandit.arms, 2], -1)
        won = memory["won"] + unit * paid[:, :1] * done
        lost = memory["lost"] + (1 - unit * paid[:, :1]) * done
        left = pulls - (won + lost)[0].sum().round().long()
        chosen = table[left, won.round().long(), lost.round().long()].argmax(1)
        return {"won": won, "lost": lost}, surely(chosen, bandit.actions.outputs)

    def begin(stage: Stage) -> tuple[Policy, Memory]:
        empty = torch.zeros(len(stage.keys), bandit.arms)
        return policy, {"won": empty, "lost": empty}

    return {"by an index of each arm": _played(run, episodes, begin)}


def indices(pulls: int, grid: int = 401) -> torch.Tensor:
    """Indices of an arm that has won s and lost f times when n pulls are left, [n, s, f]: the payment λ for each pull
    beside which it is as good to go on with this arm as to take λ to the end (Gittins 1979, for a horizon)."""
    payment = torch.linspace(0, 1, grid)[:, None, None]
    counts = torch.arange(pulls + 1.0)
    chance = (1 + counts[:, None]) / (2 + counts[:, None] + counts)
    value, table = torch.zeros(grid, pulls + 1, pulls + 1), torch.zeros(pulls + 1, pulls + 1, pulls + 1)
    for left in range(1, pulls + 1):
        won, lost = (torch.cat([value.narrow(axis, 1, pulls), value.narrow(axis, pulls, 1)], axis) for axis in (1, 2))
        goes_on = chance * (1 + won) + (1 - chance) * lost
        table[left] = (goes_on > left * payment).sum(0) / (grid - 1)
        value = torch.maximum(goes_on, left * payment)
    return table


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


def from_scratch(run: qs.Run, _: int, tasks: tuple[int, int] = (SCRATCH, SCRATCH)) -> Figures:
    """Proximal policy optimisation in single test tasks: with the data of one trial, and with 100 times as much. Its
    steps are those that brought most on Reacher, of four tried: 3e-3 ten times over diverged there. tasks: how many."""
    found = {}
    for times, count in zip(_TIMES, tasks, strict=True):
        values = torch.tensor([_alone(run, index, times) for index in range(count)])
        told = Estimate.of_draws(values)  # few: Student's interval
        found[f"{times} x"] = {"mean": told.mean, "ci95": told.ci95, "count": count}
    return {"from scratch": found}


def _alone(run: qs.Run, index: int, times: int) -> float:
    """The return of an episode in one test task after learning in it alone, from so many times the data of a trial."""
    trial, lanes = run.config.queries, 1 if times == 1 else 10
    own = run.parts.source.alone("test", index)
    config = replace(
        run.config, name="scratch", start="", meta_batch=lanes, shots=trial, queries=trial,
        learner=learners.part("ppo", unit=run.learner.unit, discount=0.97), lr=1e-3, reuse=4, parts=lanes,
        model=models.part("mlp", width=64), iterations=times // lanes, validate_every=10**6,
        checkpoint_every=10**6, validation_episodes=2,
    )  # fmt: skip
    with TemporaryDirectory() as place:
        alone = qs.train(config, source=own, out=Path(place, "run"), quiet=True)
        under = own.under(alone.learner, alone.params)
        episodes = EPISODES_OF_SCRATCH // trial
        result = evaluate(alone.parts.engine, alone.params, under, "test", episodes, compare_supports=False)
    return result.mean

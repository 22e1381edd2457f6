"""What agents are held against: rules written by hand, one policy for all tasks, and learning from scratch."""

from __future__ import annotations

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
from quickstudy.rl.play import Memory
from studies.agents_figures import AT_ONCE, Figures, by_episode, columns, figures

SCRATCH, EPISODES_OF_SCRATCH = 10, 200  # tasks that are learned from nothing, and episodes that each is judged by
_TIMES = (1, 100)


def by_rules(run: qs.Run, episodes: int) -> Figures:
    """The Intelligent Driver Model at the wheel: one that does not know what pays, and one that does."""
    source, found = run.parts.source, {}
    for name, knows in (("the IDM driver", False), ("the IDM driver, told the speed that pays", True)):
        brought = []
        for part in torch.arange(episodes).split(AT_ONCE):
            stage = source.stage("test", part)
            driver = idm_driver(source.environment, **({"speed": stage.task["pays"]} if knows else {}))
            played = stage.play(driver, {}, run.config.queries)
            brought.append(by_episode(played.reward, played.mask, played.episode, run.config.queries))
        found[name] = columns(torch.cat(brought).double().numpy())
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
    for part in torch.arange(episodes).split(AT_ONCE):
        empty = torch.zeros(len(part), world.states, world.choices)
        stage = run.parts.source.stage("test", part)
        played = stage.play(policy, {"sums": empty, "counts": empty, "last": empty[..., 0]}, count)
        brought.append(by_episode(played.reward, played.mask, played.episode, count))
    return {"choosing by the posterior mean of each pair": columns(torch.cat(brought).double().numpy())}


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

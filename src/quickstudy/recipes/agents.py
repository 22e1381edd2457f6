"""Agents: trained over many environments, to learn a new one from a few episodes in it."""

from __future__ import annotations

from typing import Any

from quickstudy.registry import Part, learners, models, recipes, sources
from quickstudy.training.config import RunConfig


def _remembering(
    name: str, tasks: Part[Any], episodes: int, learner: dict[str, Any], horizon: float = 1.0, **options: Any
) -> RunConfig:
    """RL² on whole trials: each step's data is gone through three times, in four parts.

    learner: options of its own. horizon: γ and λ; below 1 where what is far ahead is mostly noise.
    """
    given: dict[str, Any] = {"iterations": 300, "meta_batch": 1024, "reuse": 3, "parts": 4, "lr": 2e-3, "clip": 0.5}
    given |= {"validate_every": 50, "checkpoint_every": 50, "model": models.part("mlp", width=32, depth=1)}
    return RunConfig(
        name=name,
        tasks=tasks,
        learner=learners.part("rl2", **{"width": 64, "discount": horizon, "trace": horizon} | learner),
        ways=1,
        shots=episodes,
        queries=episodes,
        schedule="CosineAnnealingLR",
        validation_episodes=1000,
        compile="off",
        **given | options,
    )


@recipes.register("rl-bandit")
def rl_bandit() -> RunConfig:
    """RL² on bandits of five arms, ten pulls each (Duan et al. 2016)."""
    return _remembering("rl-bandit", sources.part("bandit", arms=5), episodes=10, learner={"unit": 5.0})


@recipes.register("rl-gridworld")
def rl_gridworld() -> RunConfig:
    """RL² on a grid of 5 by 5 cells with a hidden goal, four episodes of 15 steps (Zintgraf et al. 2020)."""
    return _remembering("rl-gridworld", sources.part("gridworld"), episodes=4, learner={"unit": 10.0})


@recipes.register("rl-mdp")
def rl_mdp() -> RunConfig:
    """RL² on random decision processes of ten states and five actions, ten episodes of ten steps (Duan et al. 2016)."""
    learner: dict[str, Any] = {"memory": "fast", "unit": 20.0, "discount": 0.97, "trace": 0.9}
    often: dict[str, Any] = {
        "meta_batch": 256,
        "iterations": 950,
        "lr": 1.5e-3,
        "validate_every": 100,
        "checkpoint_every": 100,
    }
    return _remembering("rl-mdp", sources.part("tabular-mdp"), episodes=10, learner=learner, **often)


@recipes.register("rl-highway-rl2")
def rl_highway_rl2() -> RunConfig:
    """RL² on highways whose traffic, and what pays, have to be found out: three episodes of 40 seconds."""
    tasks, learner = sources.part("highway"), {"unit": 20.0}
    return _remembering("rl-highway-rl2", tasks, episodes=3, learner=learner, horizon=0.95, meta_batch=512)


@recipes.register("rl-arcade-rl2")
def rl_arcade_rl2() -> RunConfig:
    """RL² on five games whose rules have to be found out, and are guessed: four episodes of 50 steps.

    It begins best from a run under plain rules, `tasks.plain=1`: see `start`.
    """
    tasks, model = sources.part("arcade", plain=0.5, horizon=50), models.part("mlp", width=128, depth=1)
    often: dict[str, Any] = {"meta_batch": 256, "reuse": 2, "parts": 8, "lr": 4e-3, "iterations": 170}
    often |= {"validate_every": 30, "model": model}
    learner: dict[str, Any] = {"unit": 0.1, "hidden": 128, "belief": 0.1}
    return _remembering("rl-arcade-rl2", tasks, episodes=4, learner=learner, horizon=0.95, **often)


@recipes.register("rl-cheetah-rl2")
def rl_cheetah_rl2() -> RunConfig:
    """RL² on HalfCheetah that is to run forwards or backwards: two episodes of 200 steps (Finn et al. 2017)."""
    tasks = sources.part("gym", id="cheetah-dir", past=True)
    often: dict[str, Any] = {"meta_batch": 32, "reuse": 6, "parts": 8, "lr": 2e-3, "iterations": 200}
    learner = {"unit": 100.0, "entropy": 0.0}
    return _remembering("rl-cheetah-rl2", tasks, episodes=2, learner=learner, horizon=0.97, **often)


@recipes.register("rl-reacher-rl2")
def rl_reacher_rl2() -> RunConfig:
    """RL² on a robot arm that must find a goal it is not shown: two episodes of 50 steps."""
    tasks = sources.part("gym", id="reacher", past=True)
    often: dict[str, Any] = {"meta_batch": 128, "reuse": 4, "parts": 4, "lr": 7e-4, "iterations": 600}
    often |= {"validate_every": 200, "checkpoint_every": 100}
    learner = {"unit": 2.0, "entropy": 0.005}
    return _remembering("rl-reacher-rl2", tasks, episodes=2, learner=learner, horizon=0.95, **often)


@recipes.register("rl-point-maml")
def rl_point_maml() -> RunConfig:
    """MAML for policies: a point that must find its goal from two policy gradients (Finn et al. 2017)."""
    return RunConfig(
        name="rl-point-maml",
        tasks=sources.part("point-robot"),
        model=models.part("mlp", width=64),
        learner=learners.part("maml-rl", lr=0.8, lr_decay=0.5, steps=2, learn_rates=True, unit=10.0),
        ways=1,
        shots=20,
        queries=10,
        iterations=250,
        meta_batch=20,
        lr=1e-3,
        clip=0.5,
        schedule="CosineAnnealingLR",
        validate_every=50,
        validation_episodes=40,
        checkpoint_every=50,
        log_every=10,
        compile="off",
    )

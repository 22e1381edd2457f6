"""Recipes of learners that read: trained on priors, they answer in one forward pass."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.train.config import Protocol, RunConfig

_SCHEDULE = {"pct_start": 0.05, "cycle_momentum": False}


def _sinusoid(name: str, varying: bool, target: float, published: float, source: str) -> RunConfig:
    return RunConfig(
        name=name,
        tasks=sources.part("sinusoid", varying_frequency=varying),
        model=models.part("mlp", width=64, depth=2),
        learner=learners.part("incontext", width=64, layers=4),
        shots=5,
        queries=100,
        train_shots=10,
        min_shots=2,
        train_queries=40,
        iterations=20000,
        meta_batch=64,
        lr=1e-3,
        schedule="OneCycleLR",
        schedule_options=_SCHEDULE,
        clip=1.0,
        vectorize="vmap",
        validate_every=2000,
        validation_episodes=1000,
        checkpoint_every=5000,
        log_every=200,
        protocols=(Protocol(name="5-shot", shots=5, queries=100, published=published, source=source, target=target),),
    )


@recipes.register("sinusoid-incontext")
def sinusoid_incontext() -> RunConfig:
    """In-context transformer on sinusoids of varying amplitude and phase (tasks of Finn et al. 2017, section 5.1)."""
    return _sinusoid("sinusoid-incontext", False, 0.10, 0.38, "MAML after 5 steps, Finn et al. 2017, figure 3")


@recipes.register("sinusoid-incontext-frequency")
def sinusoid_incontext_frequency() -> RunConfig:
    """The same where the frequency varies too (tasks of Li et al. 2017, section 4.1)."""
    return _sinusoid("sinusoid-incontext-frequency", True, 0.30, 0.90, "Meta-SGD, Li et al. 2017, table 1")


@recipes.register("gp-incontext")
def gp_incontext() -> RunConfig:
    """In-context transformer on functions drawn from a Gaussian process, to be compared with the exact posterior."""
    return RunConfig(
        name="gp-incontext",
        tasks=sources.part("gp"),
        model=models.part("mlp", width=64, depth=2),
        learner=learners.part("incontext", width=64, layers=4),
        shots=25,
        queries=50,
        train_shots=50,
        min_shots=1,
        train_queries=50,
        iterations=20000,
        meta_batch=32,
        lr=1e-3,
        schedule="OneCycleLR",
        schedule_options=_SCHEDULE,
        clip=1.0,
        vectorize="vmap",
        validate_every=2000,
        validation_episodes=500,
        checkpoint_every=5000,
        log_every=100,
    )

"""Recipes of learners that read: trained on priors, they answer in one forward pass."""

from __future__ import annotations

from typing import Any

from quickstudy.registry import Part, learners, models, recipes, sources
from quickstudy.training.config import RunConfig
from quickstudy.training.protocol import Protocol

_SCHEDULE = {"pct_start": 0.05, "cycle_momentum": False}


def _prior_fitted(name: str, tasks: Part[Any], model: Part[Any], learner: Part[Any], **sizes: Any) -> RunConfig:
    """What the recipes share that are trained on tasks that are made up. sizes: further fields of the config."""
    return RunConfig(
        name=name,
        tasks=tasks,
        model=model,
        learner=learner,
        lr=1e-3,
        schedule="OneCycleLR",
        schedule_options=_SCHEDULE,
        clip=1.0,
        vectorize="vmap",
        validate_every=1000,
        checkpoint_every=2000,
        log_every=100,
        **sizes,
    )


def _sinusoid(name: str, varying: bool, iterations: int, target: float, published: float, source: str) -> RunConfig:
    return _prior_fitted(
        name,
        sources.part("sinusoid", varying_frequency=varying),
        models.part("mlp", width=64, depth=2),
        learners.part("incontext", width=64, layers=4),
        shots=5,
        queries=100,
        train_shots=10,
        min_shots=2,
        train_queries=40,
        iterations=iterations,
        meta_batch=64,
        validation_episodes=1000,
        protocols=(Protocol(name="5-shot", shots=5, queries=100, published=published, source=source, target=target),),
    )


@recipes.register("sinusoid-incontext")
def sinusoid_incontext() -> RunConfig:
    """In-context transformer on sinusoids of varying amplitude and phase (tasks of Finn et al. 2017, section 5.1)."""
    return _sinusoid("sinusoid-incontext", False, 8000, 0.10, 0.38, "MAML after 5 steps, Finn et al. 2017, figure 3")


@recipes.register("sinusoid-incontext-frequency")
def sinusoid_incontext_frequency() -> RunConfig:
    """The same where the frequency varies too (tasks of Li et al. 2017, section 4.1)."""
    return _sinusoid("sinusoid-incontext-frequency", True, 4000, 0.30, 0.90, "Meta-SGD, Li et al. 2017, table 1")


@recipes.register("gp-incontext")
def gp_incontext() -> RunConfig:
    """In-context transformer on functions drawn from a Gaussian process, to be compared with the exact posterior."""
    return _prior_fitted(
        "gp-incontext",
        sources.part("gp"),
        models.part("mlp", width=64, depth=2),
        learners.part("incontext", width=64, layers=4),
        shots=25,
        queries=50,
        train_shots=50,
        min_shots=1,
        train_queries=50,
        iterations=10000,
        meta_batch=32,
        validation_episodes=500,
    )


@recipes.register("tables-incontext")
def tables_incontext() -> RunConfig:
    """Prior-fitted network for small tables: trained on made-up tables alone, it classifies real ones as they are.

    Up to 64 columns and 10 classes, from 64 rows (in the spirit of Hollmann et al. 2023).
    """
    return _prior_fitted(
        "tables-incontext",
        sources.part("structural", columns=64),
        models.part("columns"),
        learners.part("incontext", width=96, layers=4, heads=4, limit=10, hints=True, standardise=True),
        ways=10,
        shots=64,
        queries=64,
        train_shots=64,
        min_shots=32,
        iterations=12000,
        meta_batch=16,
        validation_episodes=256,
    )


def _mixed(name: str, target: str, ways: int) -> RunConfig:
    return _prior_fitted(
        name,
        sources.part("mixed_tables", columns=16, target=target),
        models.part("cells"),
        learners.part("axial", width=64, layers=3, heads=4, limit=10 if ways > 1 else None, hints=True),
        ways=ways,
        shots=64,
        queries=64,
        train_shots=96,
        min_shots=16,
        train_queries=32,
        iterations=2500,
        meta_batch=8,
        average=0.99,
        validation_episodes=256,
    )


@recipes.register("tables")
def tables() -> RunConfig:
    """In-context learner for your tables, trained on made-up ones: classes from numbers, categories, dates and gaps.

    Of any number of columns and up to 10 classes. It has never seen a real table, and adapts in one forward pass (in
    the spirit of Hollmann et al. 2025). It is told what ridge and kernel regressions say, so that it can be small: an
    hour on two cores.
    """
    return _mixed("tables", "classes", 10)


@recipes.register("tables-numbers")
def tables_numbers() -> RunConfig:
    """The same where numbers are to be told, such as prices: with how sure it is."""
    return _mixed("tables-numbers", "numbers", 1)


@recipes.register("omniglot-incontext")
def omniglot_incontext() -> RunConfig:
    """In-context transformer over a convolutional encoder on Vinyals' split of Omniglot, trained on 60-way tasks.

    Labels enter as the values of the last attention alone, so that tasks may have any number of ways. As in the
    prototypical network's recipe, validation characters are trained on once the options are chosen.
    """
    return RunConfig(
        name="omniglot-incontext",
        tasks=sources.part(
            "omniglot", split="vinyals", trainval=True, symmetries=4, rotate=10.0, scale=0.1, shear=0.1, translate=0.05
        ),
        model=models.part("conv4", width=64),
        learner=learners.part("incontext", width=128, layers=2, heads=4, labels="pointer"),
        ways=5,
        shots=1,
        queries=15,
        train_ways=60,
        train_queries=5,
        iterations=3000,
        meta_batch=1,
        lr=2e-3,
        optimizer="Muon",
        schedule="OneCycleLR",
        schedule_options=_SCHEDULE,
        average=0.998,
        clip=1.0,
        precision="bfloat16",
        vectorize="loop",
        validate_every=1000,
        validation_episodes=300,
        protocols=(
            Protocol(
                name="5-way 1-shot",
                ways=5,
                shots=1,
                queries=15,
                published=99.07,
                source="SNAIL, Mishra et al. 2018, table 1",
                target=98.5,
            ),
        ),
    )


def _online(name: str, learner: str) -> RunConfig:
    return RunConfig(
        name=name,
        tasks=sources.part("omniglot", split="vinyals", symmetries=4, rotate=10.0, translate=0.05),
        model=models.part("conv4", width=64, pool=False),
        learner=learners.part(learner, width=128, online=True),
        ways=5,
        shots=10,
        queries=1,
        iterations=2000,
        meta_batch=8,
        lr=1e-3,
        schedule="OneCycleLR",
        schedule_options=_SCHEDULE,
        clip=1.0,
        vectorize="vmap",
        validate_every=500,
        validation_episodes=100,
        checkpoint_every=500,
        log_every=50,
    )


@recipes.register("omniglot-mann")
def omniglot_mann() -> RunConfig:
    """Memory-augmented network that reads characters online: it predicts each before its label is shown.

    Sequences of five characters, each drawn about ten times, in random order (Santoro et al. 2016, section 4.1).
    """
    return _online("omniglot-mann", "mann")


@recipes.register("omniglot-lstm")
def omniglot_lstm() -> RunConfig:
    """The same with an LSTM alone, without an external memory (Santoro et al. 2016, section 4.1)."""
    return _online("omniglot-lstm", "lstm")


@recipes.register("runtimes")
def runtimes() -> RunConfig:
    """In-context learner of run times, trained on made-up scenarios alone: what the selector `in-context` asks.

    Of up to 32 features; minutes on one core.
    """
    return _prior_fitted(
        "runtimes",
        sources.part("runtimes", columns=32),
        models.part("columns"),
        learners.part("incontext", width=64, layers=3, heads=4, hints=True, standardise=True),
        shots=64,
        queries=32,
        train_shots=192,
        min_shots=48,
        train_queries=64,
        iterations=3000,
        meta_batch=8,
        average=0.99,
        validation_episodes=128,
    )

"""Recipes on made-up tasks: nothing to download, minutes to train."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig
from quickstudy.training.protocol import Protocol


@recipes.register("sinusoid-maml")
def sinusoid_maml() -> RunConfig:
    """MAML on sinusoids of varying amplitude and phase, trained on 10 points (Finn et al. 2017, section 5.1).

    Trained with one inner step; the φ kept is the one that ten steps on five points do best with, on validation tasks:
    where the loss is steep, several steps at the paper's rate overshoot.
    """
    published = ((1, 0.67), (5, 0.38), (10, 0.35))
    return RunConfig(
        name="sinusoid-maml",
        tasks=sources.part("sinusoid"),
        model=models.part("mlp", width=40, depth=2),
        learner=learners.part("maml", lr=0.01, steps=1, eval_steps=10),
        shots=5,
        queries=100,
        train_shots=10,
        train_queries=10,
        iterations=70000,
        meta_batch=100,
        lr=1e-3,
        schedule="CosineAnnealingLR",
        clip=10.0,
        average=0.999,
        validate_every=5000,
        validation_episodes=1000,
        checkpoint_every=20000,
        log_every=200,
        protocols=tuple(
            Protocol(
                name=f"5-shot, {steps} step{'s' if steps > 1 else ''}",
                shots=5,
                queries=100,
                steps=steps,
                published=figure,
                source="Finn et al. 2017, figure 3",
                target=figure,
            )
            for steps, figure in published
        ),
    )


def _varying_frequency(name: str, learner: str, published: float) -> RunConfig:
    return RunConfig(
        name=name,
        tasks=sources.part("sinusoid", varying_frequency=True),
        model=models.part("mlp", width=40, depth=2),
        learner=learners.part(learner, lr=0.01, steps=1),
        shots=5,
        queries=100,
        train_shots=5,
        train_queries=15,
        iterations=60000,
        meta_batch=25,
        lr=1e-3,
        schedule="CosineAnnealingLR",
        clip=10.0,
        validate_every=5000,
        validation_episodes=1000,
        checkpoint_every=5000,
        log_every=200,
        protocols=(
            Protocol(
                name="5-shot, 1 step",
                shots=5,
                queries=100,
                steps=1,
                published=published,
                source="Li et al. 2017, table 1",
                target=published,
            ),
        ),
    )


@recipes.register("sinusoid-metasgd")
def sinusoid_metasgd() -> RunConfig:
    """Meta-SGD on sinusoids whose frequency varies too, 5 shots and one step (Li et al. 2017, section 4.1)."""
    return _varying_frequency("sinusoid-metasgd", "metasgd", 0.90)


@recipes.register("sinusoid-metasgd-baseline")
def sinusoid_metasgd_baseline() -> RunConfig:
    """MAML on the same tasks as sinusoid-metasgd, for comparison (Li et al. 2017, section 4.1)."""
    return _varying_frequency("sinusoid-metasgd-baseline", "maml", 1.13)


@recipes.register("linear-maml")
def linear_maml() -> RunConfig:
    """MAML on linear classification in the plane, 10 shots, against training from scratch for the same steps."""
    return RunConfig(
        name="linear-maml",
        tasks=sources.part("linear", dimensions=2),
        model=models.part("mlp", width=40, depth=2),
        learner=learners.part("maml", lr=0.1, steps=5),
        ways=2,
        shots=10,
        queries=50,
        train_queries=20,
        iterations=5000,
        meta_batch=16,
        lr=1e-3,
        schedule="CosineAnnealingLR",
        validate_every=500,
        validation_episodes=500,
        log_every=50,
        protocols=(
            Protocol(
                name="2-way 10-shot, 5 steps",
                ways=2,
                shots=10,
                queries=50,
                steps=5,
                gain=5.0,
                scratch_rates=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
            ),
        ),
    )

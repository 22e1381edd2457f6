"""Omniglot: the published protocols, and the harder ones of the data set's authors."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.train.config import Protocol, RunConfig

_SNELL = "Snell et al. 2017, table 1"


@recipes.register("omniglot-protonet")
def omniglot_protonet() -> RunConfig:
    """Prototypical network on Vinyals' split of Omniglot, trained on 60-way tasks (Snell et al. 2017)."""
    published = ((5, 1, 98.8), (5, 5, 99.7), (20, 1, 96.0), (20, 5, 98.9))
    return RunConfig(
        name="omniglot-protonet",
        tasks=sources.part(
            "omniglot", split="vinyals", symmetries=4, rotate=10.0, scale=0.1, shear=0.1, translate=0.05
        ),
        model=models.part("conv4", width=64),
        learner=learners.part("protonet"),
        ways=5,
        shots=1,
        queries=5,
        train_ways=60,
        train_queries=5,
        iterations=7000,
        meta_batch=1,
        lr=2e-3,
        schedule="CosineAnnealingLR",
        average=0.998,
        precision="bfloat16",
        validate_every=1000,
        validation_episodes=300,
        protocols=tuple(
            Protocol(
                name=f"{n}-way {k}-shot", ways=n, shots=k, queries=5, published=figure, source=_SNELL, target=figure
            )
            for n, k, figure in published
        ),
    )


@recipes.register("omniglot-maml-5w1s")
def omniglot_maml_5w1s() -> RunConfig:
    """MAML with transductive batch statistics on Vinyals' split of Omniglot, 5-way 1-shot (Finn et al. 2017)."""
    return RunConfig(
        name="omniglot-maml-5w1s",
        tasks=sources.part("omniglot", split="vinyals", symmetries=4),
        model=models.part("conv4", width=64, pool=False),
        learner=learners.part("maml", lr=0.4, steps=1, eval_steps=3, norm="batch"),
        ways=5,
        shots=1,
        queries=15,
        train_queries=3,
        iterations=8000,
        meta_batch=16,
        lr=1.5e-3,
        schedule="CosineAnnealingLR",
        clip=10.0,
        average=0.995,
        vectorize="vmap",
        validate_every=1000,
        validation_episodes=200,
        protocols=(
            Protocol(
                name="5-way 1-shot",
                ways=5,
                shots=1,
                queries=15,
                published=98.7,
                source="Finn et al. 2017, table 1",
                target=98.0,
            ),
        ),
    )

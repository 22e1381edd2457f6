"""Omniglot: the published protocols, and the harder ones of the data set's authors."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig
from quickstudy.training.protocol import Protocol

_SNELL = "Snell et al. 2017, table 1"


@recipes.register("omniglot-protonet")
def omniglot_protonet() -> RunConfig:
    """Prototypical network on Vinyals' split of Omniglot, trained on 60-way tasks (Snell et al. 2017).

    As in the paper, the options were chosen on validation characters and the network is trained on those too.
    """
    published = ((5, 1, 98.8), (5, 5, 99.7), (20, 1, 96.0), (20, 5, 98.9))
    return RunConfig(
        name="omniglot-protonet",
        tasks=sources.part(
            "omniglot", split="vinyals", trainval=True, symmetries=4, rotate=10.0, scale=0.1, shear=0.1, translate=0.05
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
        optimizer="Muon",
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
        tasks=sources.part(
            "omniglot", split="vinyals", trainval=True, symmetries=4, rotate=10.0, scale=0.1, shear=0.1, translate=0.05
        ),
        model=models.part("conv4", width=64, pool=False),
        learner=learners.part("maml", lr=0.4, steps=1, eval_steps=3, norm="batch"),
        ways=5,
        shots=1,
        queries=15,
        train_queries=3,
        iterations=7000,
        meta_batch=16,
        optimizer="Muon",
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


def _lake(
    name: str, split: str, train_ways: int, train_groups: int, iterations: int, protocols: tuple[Protocol, ...]
) -> RunConfig:
    """What the within-alphabet recipes share. Tasks mix whole alphabets, each turned or mirrored as one.

    One alphabet is one group of look-alike characters; a softmax over several at once gives each query hard and easy
    negatives in one pass.
    """
    return RunConfig(
        name=name,
        tasks=sources.part(
            "omniglot",
            split=split,
            size=48,
            within=True,
            symmetries=8,
            validation=(),
            rotate=12.0,
            scale=0.15,
            shear=0.2,
            translate=0.06,
            elastic=0.02,
        ),
        model=models.part("resnet8"),
        learner=learners.part("protonet", distance="cosine", temperature=10.0, learn_temperature=True, views=True),
        ways=20,
        shots=1,
        queries=1,
        train_ways=train_ways,
        train_groups=train_groups,
        train_queries=1,
        iterations=iterations,
        meta_batch=1,
        optimizer="Muon",
        lr=2e-3,
        optimizer_options={"weight_decay": 1e-2},
        schedule="OneCycleLR",
        schedule_options={"pct_start": 0.03, "cycle_momentum": False},
        average=0.998,
        precision="bfloat16",
        validate_every=iterations,
        validation_episodes=200,
        calibration_episodes=20,
        checkpoint_every=1000,
        protocols=protocols,
    )


def _within(published: float, source: str, target: float) -> tuple[Protocol, ...]:
    return (
        Protocol(
            name="20-way 1-shot within alphabet, random tasks of the ten official alphabets",
            ways=20,
            shots=1,
            queries=1,
            episodes=400,
            published=published,
            source=source,
            target=target,
            error=True,
        ),
    )


@recipes.register("omniglot-lake")
def omniglot_lake() -> RunConfig:
    """20-way 1-shot within unseen alphabets, trained on the 30 background alphabets (Lake et al. 2015, 2019)."""
    protocols = _within(13.7, "ProtoNet in Lake et al. 2019 (ConvNet 13.5, people 4.5)", 5.0)
    return _lake("omniglot-lake", "lake", 112, 8, 7500, protocols)


@recipes.register("omniglot-lake-minimal-1")
def omniglot_lake_minimal_1() -> RunConfig:
    """The same with five alphabets to train on, the authors' first minimal set (Lake et al. 2015, 2019)."""
    protocols = _within(24.0, "ConvNet in Lake et al. 2019 (ProtoNet 30.1, BPL 4.3)", 8.0)
    return _lake("omniglot-lake-minimal-1", "lake-minimal-1", 110, 5, 1500, protocols)


@recipes.register("omniglot-lake-minimal-2")
def omniglot_lake_minimal_2() -> RunConfig:
    """The same with the authors' second minimal set of five alphabets (Lake et al. 2015, 2019)."""
    protocols = _within(22.3, "ConvNet in Lake et al. 2019 (ProtoNet 30.1, BPL 4.0)", 8.0)
    return _lake("omniglot-lake-minimal-2", "lake-minimal-2", 85, 5, 1700, protocols)

"""What is trained here and comes with the package; the tables' recipes are among `readers`."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig


@recipes.register("handwriting")
def handwriting() -> RunConfig:
    """An embedding of handwriting and drawings, from Omniglot and procedural characters. 15 minutes of one core.

    It comes with the package, trained: quickstudy adapt handwriting --support MY-DRAWINGS --out MY-MODEL.
    """
    return RunConfig(
        name="handwriting",
        tasks=sources.part(
            "omniglot",
            split="lake",
            evaluation="all",
            symmetries=4,
            glyphs=0.25,
            ink=True,
            rotate=15.0,
            scale=0.2,
            shear=0.2,
            translate=0.05,
            elastic=0.02,
            thickness=0.6,
        ),
        model=models.part("conv4", width=64),
        learner=learners.part("protonet"),
        ways=20,
        shots=5,
        queries=5,
        train_ways=60,
        train_shots=3,
        min_shots=1,
        train_queries=3,
        iterations=3000,
        meta_batch=1,
        optimizer="Muon",
        lr=2e-3,
        schedule="CosineAnnealingLR",
        average=0.998,
        precision="bfloat16",
        validate_every=1000,
        validation_episodes=200,
        log_every=50,
    )

"""The main job in minutes: what `quickstudy demo` trains."""

from __future__ import annotations

from dataclasses import replace

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig


@recipes.register("demo")
def demo() -> RunConfig:
    """A small prototypical network on Omniglot's background alphabets, tested on alphabets never seen; minutes."""
    return RunConfig(
        name="demo",
        tasks=sources.part("omniglot", split="lake", evaluation="all", symmetries=4, rotate=10.0, scale=0.1, shear=0.1),
        model=models.part("conv4", width=64),
        learner=learners.part("protonet"),
        ways=5,
        shots=1,
        queries=5,
        train_ways=50,
        train_queries=2,
        iterations=2000,
        meta_batch=1,
        optimizer="Muon",
        lr=2e-3,
        schedule="CosineAnnealingLR",
        average=0.99,
        validate_every=200,
        validation_episodes=100,
        checkpoint_every=200,
        log_every=10,
    )


@recipes.register("demo-glyphs")
def demo_glyphs() -> RunConfig:
    """The same on procedural characters: needs no data and no network. Drawing them takes time, so it is shorter."""
    return replace(demo(), name="demo-glyphs", tasks=sources.part("glyphs"), iterations=1000)

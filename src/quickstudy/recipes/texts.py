"""Recipes for texts of one's own."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig


@recipes.register("text")
def text() -> RunConfig:
    """Your own sentences: a prototypical network that starts from nothing but your texts; minutes without a GPU.

    It needs a file of texts and labels: --tasks.path my.csv. With a pretrained encoder: --model transformers
    --model.name FOLDER --tasks.tokenizer FOLDER.
    """
    return RunConfig(
        name="text",
        tasks=sources.part("text"),
        model=models.part("ngrams"),
        learner=learners.part("protonet"),
        ways=5,
        shots=1,
        queries=5,
        iterations=1000,
        meta_batch=4,
        lr=1e-3,
        validate_every=200,
        validation_episodes=200,
        checkpoint_every=200,
        log_every=50,
    )

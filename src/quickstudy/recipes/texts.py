"""Recipes for texts of one's own."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig


@recipes.register("text")
def text() -> RunConfig:
    """Your own sentences, from a file of texts and labels: nothing but them is needed, and no GPU; minutes.

    Say where they are: --tasks.path my.csv. Tokens are nearly letters, so that the forms of a word have much in common.
    With a pretrained encoder: --model transformers --model.name FOLDER --tasks.tokenizer FOLDER.
    """
    return RunConfig(
        name="text",
        tasks=sources.part("text", vocabulary=300, length=160),
        model=models.part("ngrams"),
        learner=learners.part("protonet", distance="cosine", temperature=10.0, learn_temperature=True),
        ways=5,
        shots=1,
        queries=5,
        train_ways=10,
        train_shots=5,
        min_shots=1,
        iterations=400,
        meta_batch=2,
        lr=3e-3,
        schedule="CosineAnnealingLR",
        validate_every=200,
        validation_episodes=200,
        checkpoint_every=200,
        log_every=50,
    )

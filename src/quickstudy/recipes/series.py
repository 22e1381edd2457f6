"""Recipes on time series: nothing to download, minutes to train."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig
from quickstudy.training.protocol import Protocol


@recipes.register("lines-lstm")
def lines_lstm() -> RunConfig:
    """MAML with an LSTM that continues straight lines a t + b, of which it has seen five points.

    The lines are left as they are. Normalised by their seen points, all of them would be one of two.
    """
    return RunConfig(
        name="lines-lstm",
        tasks=sources.part("series", kind="lines", window=9, normalise=False),
        model=models.part("lstm", width=32),
        learner=learners.part("maml", lr=0.01, steps=5),
        shots=4,
        queries=5,
        iterations=3000,
        meta_batch=16,
        lr=3e-3,
        schedule="CosineAnnealingLR",
        clip=10.0,
        validate_every=500,
        validation_episodes=500,
        checkpoint_every=1000,
        log_every=100,
        protocols=(
            Protocol(
                name="5 points seen",
                shots=4,
                queries=5,
                episodes=500,
                scratch_rates=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
            ),
        ),
    )

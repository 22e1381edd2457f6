"""Recipes on recordings: your own, in one folder for each word, voice, machine or bird."""

from __future__ import annotations

from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig


@recipes.register("audio")
def audio() -> RunConfig:
    """Your own recordings, in one sub-folder for each class: `--tasks.root my-recordings`. Minutes on two cores."""
    return RunConfig(
        name="audio",
        tasks=sources.part("audio", root="recordings", shift=0.1, speed=0.1, noise=0.3, time_mask=0.15, mel_mask=0.15),
        model=models.part("speech"),
        learner=learners.part("protonet"),
        ways=5,
        shots=1,
        queries=5,
        train_ways=10,
        train_queries=3,
        iterations=1000,
        meta_batch=1,
        optimizer="Muon",
        lr=2e-3,
        optimizer_options={"weight_decay": 1e-2},
        schedule="OneCycleLR",
        schedule_options={"pct_start": 0.1, "cycle_momentum": False},
        average=0.99,
        validate_every=250,
        validation_episodes=100,
        checkpoint_every=250,
    )

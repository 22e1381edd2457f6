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
        learner=learners.part("simpleshot", smoothing=0.1),
        ways=5,
        shots=1,
        queries=5,
        batch=64,
        iterations=800,
        meta_batch=1,
        optimizer="Muon",
        lr=2e-3,
        optimizer_options={"weight_decay": 1e-2},
        schedule="OneCycleLR",
        schedule_options={"pct_start": 0.1, "cycle_momentum": False},
        average=0.99,
        validate_every=200,
        validation_episodes=100,
        checkpoint_every=200,
    )


@recipes.register("audio-embedding")
def audio_embedding() -> RunConfig:
    """Your own recordings on Google's frozen speech embedding: `--model.file`, `--model.spectrogram` are its files.

    All that is learned is which directions of the embedding tell words apart and which speakers, in closed form. The
    window is longer than a word, as the embedding is the mean over windows of 0.8 s, of which some must hold it whole.
    """
    return RunConfig(
        name="audio-embedding",
        tasks=sources.part("audio", root="recordings", seconds=1.5, mels=0, normalise="none"),
        model=models.part(
            "onnx_sound",
            file="embedding_model.onnx",
            spectrogram="melspectrogram.onnx",
            scale=32768.0,
            gain=0.1,
            offset=2.0,
        ),
        learner=learners.part("simpleshot", shrinkage=0.2),
        ways=5,
        shots=1,
        queries=5,
        batch=256,
        calibration_episodes=20,
        iterations=0,
    )


@recipes.register("transcripts")
def transcripts() -> RunConfig:
    """Your own recordings with their texts, by speaker: `--tasks.path said.csv`. Half an hour on two cores.

    One network for all speakers, which takes ten gradient steps on the utterances of a new one.
    """
    return RunConfig(
        name="transcripts",
        tasks=sources.part("transcripts", path="said.csv"),
        model=models.part("transcriber"),
        learner=learners.part("maml", steps=0, eval_steps=10, lr=0.01),
        ways=1,
        shots=5,
        queries=10,
        iterations=800,
        meta_batch=4,
        optimizer="AdamW",
        lr=2e-3,
        optimizer_options={"weight_decay": 0.01},
        schedule="OneCycleLR",
        schedule_options={"pct_start": 0.1, "cycle_momentum": False},
        clip=1.0,
        validate_every=200,
        validation_episodes=20,
        checkpoint_every=200,
    )

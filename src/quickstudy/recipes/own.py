"""Recipes for data of one's own, by numbers that did well elsewhere; see also `sound`."""

from __future__ import annotations

from dataclasses import replace

from quickstudy.recipes.series import lines_lstm
from quickstudy.registry import learners, models, recipes, sources
from quickstudy.training.config import RunConfig


@recipes.register("photos")
def photos() -> RunConfig:
    """Your own photos, in one sub-folder for each class: `--tasks.root my-photos`. Half an hour on two cores.

    With a pretrained encoder: --model timm --model.name NAME --iterations 0.
    """
    return RunConfig(
        name="photos",
        tasks=sources.part("folder", size=64, rotate=10.0, scale=0.1, translate=0.05),
        model=models.part("conv4", width=64),
        learner=learners.part("protonet"),
        ways=5,
        shots=5,
        queries=5,
        iterations=2000,
        meta_batch=4,
        optimizer="Muon",
        lr=2e-3,
        schedule="CosineAnnealingLR",
        average=0.998,
        validate_every=250,
        validation_episodes=300,
    )


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


@recipes.register("unlabelled")
def unlabelled() -> RunConfig:
    """Your own unsorted images, which need no labels: `--tasks.root unsorted`. Half an hour on two cores.

    With drawings or scans of ink: --tasks.options size 28 channels 1 invert true. Other records: --tasks.format NAME.
    """
    distort = ("rotate", "10", "scale", "0.2", "shear", "0.2", "translate", "0.1", "elastic", "0.02")
    return replace(
        photos(),
        name="unlabelled",
        tasks=sources.part("unlabelled", distort=distort),
        shots=1,
        train_ways=64,
        train_queries=2,
        meta_batch=1,
    )


@recipes.register("masks")
def masks() -> RunConfig:
    """Your own images with masks, one sub-folder for each concept: `--tasks.root my-masks`. Hours on two cores.

    With a pretrained encoder, minutes on a GPU: --model squeezenet --model.weights FILE --trainable "!*" --learner
    decoder.
    """
    return RunConfig(
        name="masks",
        tasks=sources.part("masks", size=64, flip=0.5, rotate=10.0, scale=0.2, translate=0.1),
        model=models.part("unet", width=16),
        learner=learners.part("protonet", distance="cosine", temperature=20.0, learn_temperature=True),
        ways=2,
        shots=3,
        queries=3,
        train_shots=3,
        min_shots=1,
        iterations=2000,
        meta_batch=4,
        optimizer="AdamW",
        lr=1e-3,
        schedule="CosineAnnealingLR",
        validate_every=250,
        validation_episodes=100,
    )


@recipes.register("rows")
def rows() -> RunConfig:
    """Your own table with many classes, a file of rows with the class in each: `--tasks.path my.csv`. Minutes.

    For few classes, or tables of all kinds, see the recipe `tables`, which needs no training on them.
    """
    return RunConfig(
        name="rows",
        tasks=sources.part("table_csv"),
        model=models.part("cells", width=64, depth=2),
        learner=learners.part("protonet"),
        ways=5,
        shots=5,
        queries=5,
        iterations=2000,
        meta_batch=4,
        optimizer="AdamW",
        lr=1e-3,
        validate_every=250,
        validation_episodes=300,
    )


@recipes.register("rows-numbers")
def rows_numbers() -> RunConfig:
    """Your own small tables with numbers to tell, by a column: `--tasks.path my.csv --tasks.group machine`. Minutes.

    Or a folder with a file for each table: --tasks.path machines/.
    """
    return replace(
        rows(),
        name="rows-numbers",
        tasks=sources.part("table_csv", target="numbers"),
        model=models.part("cells"),
        learner=learners.part("axial", width=64, layers=2, hints=True),
        ways=1,
        shots=10,
        queries=10,
    )


@recipes.register("forecast")
def forecast() -> RunConfig:
    """Your own time series, a CSV file with a column of names and one of values: `--tasks.path my.csv`. Minutes.

    With a column for each series: --tasks.wide.
    """
    return replace(lines_lstm().with_tasks(sources.part("series_csv")), name="forecast", model=models.part("lstm"))

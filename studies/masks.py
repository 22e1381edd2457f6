"""Segmentation from a few masks: concepts that were never seen, and pictures of other kinds than the training's."""

from __future__ import annotations

import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.entries import HEAD
from quickstudy.episode import Params
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.learners import DecoderLearner, Learner
from quickstudy.registry import learners, models, sources
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.masks import MaskSource
from studies.common import interval, store

STEPS, EPISODES, SIZE, HELD_OUT, WIDTH = 1800, 200, 64, 200, 64
REGULARISATIONS, LOGISTIC = (0.1, 1.0, 10.0), 0.3
_SEED = 0
_CONCEPTS = 1195
_NUCLEUS, _CELL = "0 background\n1 background\n2 nucleus\n", "0 background\n1 cell\n2 cell\n"
DOMAINS: dict[str, tuple[str, int, str]] = {  # archive, ways, and what values are called, if not as it says itself
    "nucleus of blood cells": ("wbc", 2, _NUCLEUS),
    "blood cells": ("wbc", 2, _CELL),
    "defects of tiles": ("magnetic_tile", 2, ""),
    "street scenes": ("camvid", 12, ""),
}


class Colours(nn.Module):
    """Pixels as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def unpacked(archive: str, place: Path) -> Path:
    """An archive of the data at `place`."""
    with zipfile.ZipFile(Path(os.environ["QUICKSTUDY_DATA"], f"{archive}.zip")) as file:
        file.extractall(place)
    return place / Path(archive).name


def config_of(place: Path, distractors: int, **options: Any) -> qs.RunConfig:
    """A decoder over a frozen SqueezeNet, on emoji that are pasted on photographs beside others."""
    tasks = sources.part(
        "masks", root=str(place / "emoji"), photographs=str(place / "tiny_imagenet_30"), distractors=distractors,
        size=SIZE, val=0.1, test=HELD_OUT / _CONCEPTS, min_class=6, broken="skip", flip=0.5, rotate=15.0, scale=0.2,
        translate=0.05,
    )  # fmt: skip
    weights = Path(os.environ["QUICKSTUDY_DATA"]).parent / "models" / "squeezenet1_0.safetensors"
    return qs.RunConfig(
        name="masks", tasks=tasks, model=models.part("squeezenet", weights=str(weights)),
        learner=learners.part("decoder", width=WIDTH), trainable=("!*",), ways=2, shots=5, queries=1, train_shots=4,
        train_queries=2, min_shots=1, iterations=STEPS, meta_batch=8, optimizer="AdamW", lr=1e-3,
        rates={"head.*": 2e-2}, schedule="CosineAnnealingLR", clip=1.0, validate_every=max(STEPS // 4, 1),
        validation_episodes=100, log_every=100, checkpoint_every=10 * STEPS, seed=_SEED, compile="off",
    )  # fmt: skip


def methods(run: qs.Run, source: Source) -> dict[str, tuple[Learner, Params]]:
    """What is compared, each with its φ; λ of the regression is chosen on validation concepts."""
    encoder, spec = run.module(), run.spec
    trained = run.learner
    assert isinstance(trained, DecoderLearner)
    plain: dict[str, Learner] = {
        "colour prototypes": learners["protonet"](Colours(), spec, temperature=10.0),
        "SqueezeNet, prototypes (PANet)": learners["protonet"](encoder, spec, distance="cosine", temperature=20.0),
    }
    each = {λ: learners["r2d2"](encoder, spec, regularisation=λ) for λ in REGULARISATIONS}
    found = {λ: over(run, one, fresh(run, one), source, "val", 5, 1)["mean"] for λ, one in each.items()}
    plain["SqueezeNet, regression of pixels"] = each[max(found, key=lambda λ: found[λ])]
    plain["SqueezeNet, logistic regression of pixels"] = learners["lrd2"](encoder, spec, regularisation=LOGISTIC)
    rows = {name: (one, fresh(run, one)) for name, one in plain.items()}
    rows["decoder, meta-trained"] = replace(trained, choose=False), run.params
    rows["decoder and regression, weighed for each task"] = trained, run.params
    return rows


def fresh(run: qs.Run, learner: Learner) -> Params:
    """φ of a learner that was not trained, with the run's encoder where it has that."""
    drawn = learner.init(torch.Generator().manual_seed(_SEED))
    own = {name: value for name, value in run.params.items() if name in drawn and not name.startswith(HEAD)}
    return {name: value.to(run.parts.engine.device) for name, value in drawn.items()} | own


def over(
    run: qs.Run, learner: Learner, params: Params, source: Source, split: str, shots: int, queries: int, ways: int = 2
) -> dict[str, float]:
    """The headline over tasks of a split."""
    sized = source.sampled(Sampling(ways, shots, queries))
    engine = replace(run.parts.engine, learner=learner.at(sized.spec))
    return interval(evaluate(engine, params, sized, split, EPISODES, compare_supports=False).values)


def domain(name: str, place: Path, device: Any) -> Source:
    """Tasks over all classes of another kind of pictures."""
    archive, _, names = DOMAINS[name]
    folder = place / archive
    if names:
        (folder / "classes.txt").write_text(names)
    return qs.tasks.masks(root=str(folder), size=SIZE, val=0.0, test=0.0).seeded(_SEED).to(device)


def alone(source: Source) -> Source:
    """The same concepts with nothing pasted beside them."""
    assert isinstance(source, MaskSource) and source.photographs is not None
    return replace(source, photographs=replace(source.photographs, distractors=0))


def measured(run: qs.Run, place: Path) -> dict[str, Any]:
    """Each method on held-out concepts at 1 and 5 shots, and in each domain at 5."""
    began, home = time.perf_counter(), run.parts.source
    compared = methods(run, home)
    rows: dict[str, Any] = {name: {} for name in compared}
    places = {name: domain(name, place, run.parts.engine.device) for name in DOMAINS}
    for name, (learner, params) in compared.items():
        for where, source in (("", home), (", alone", alone(home))):
            rows[name][f"1-shot{where}"] = over(run, learner, params, source, "test", 1, 5)
            rows[name][f"5-shot{where}"] = over(run, learner, params, source, "test", 5, 1)
        for where, source in places.items():
            rows[name][where] = over(run, learner, params, source, "train", 5, 5, DOMAINS[where][1])
        told = ", ".join(f"{figure} {100 * found['mean']:.1f}" for figure, found in rows[name].items())
        print(f"{name}: {told} ({time.perf_counter() - began:.0f} s)", flush=True)
    return rows


def masks() -> None:
    """Emoji on photographs, with another beside them or alone; and blood cells, tiles and streets."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        kinds = {f"segmentation/{archive}" for archive, *_ in DOMAINS.values()}
        for archive in ("domains/emoji", "domains/tiny_imagenet_30", *sorted(kinds)):
            unpacked(archive, place)
        run = qs.train(config_of(place, 1), out=place / "run", quiet=True)
        told = [line for line in run.metrics if line["split"] == "val"]
        print(f"trained {run.seconds:.0f} s: {told}", flush=True)
        facts = {"step": run.kept["step"], "seconds": run.seconds, "rows": measured(run, place)}
        store("masks", {"seed": _SEED, "episodes": EPISODES, "steps": STEPS, "size": SIZE, **facts})

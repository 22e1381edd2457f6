"""Omniglot learned without labels: each training drawing is a class of its own (UMTRA), or clusters are (CACTUs)."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.formats.augment import Augment
from quickstudy.registry import learners, models
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.partitions import partitions
from quickstudy.tasks.pool import RepeatedPool, TensorPool
from studies.common import interval, store

EPISODES, QUERIES, VALIDATION = 1000, 15, 300
TRIED, STEPS, WIDTH, WAYS, COPIES = 150, 1000, 32, 64, 2
CLUSTERS, PARTITIONS, LEAST = 500, 10, 10
SETTINGS = {
    "mild": Augment(10, 0.2, 0.2, 0.1, 0.02, 0.5),
    "middle": Augment(20, 0.3, 0.3, 0.1, 0.02, 0.5),
    "wide": Augment(20, 0.3, 0.3, 0.15, 0.02, 0.5),
    "strong": Augment(30, 0.4, 0.4, 0.15, 0.05, 0.8),
}
_SEED, _MANY = 0, 1 << 20


def without_labels(source: ClassSource, how: Augment) -> ClassSource:
    """The same drawings, of which those for training are classes of their own, turned and mirrored ones too; whose
    drawings they are is forgotten."""
    rows = training_rows(source)
    ones = torch.ones_like(rows)
    return with_classes(source, rows, ones, _MANY * ones, 0 * ones, how)


def clustered(source: ClassSource, z: Tensor, how: Augment) -> ClassSource:
    """Of which clusters of the features z (n, D) of the training drawings are the classes."""
    rows, parts = training_rows(source), partitions(z, CLUSTERS, PARTITIONS, _SEED)
    kept = [
        (rows[ids == c], g) for g, ids in enumerate(parts) for c in range(CLUSTERS) if int((ids == c).sum()) >= LEAST
    ]
    own = torch.tensor([len(some) for some, _ in kept])
    found = torch.cat([some for some, _ in kept])
    made = with_classes(source, found, own, own, torch.tensor([group for _, group in kept]), how)
    return replace(made, within=True)


def training_rows(source: ClassSource) -> Tensor:
    """Where the drawings of the training characters lie in the pool, (n,)."""
    pool = source.pool
    assert isinstance(pool, TensorPool)
    return torch.cat([pool.rows[pool.starts[c] :][: pool.counts[c]] for c in source.splits["train"].tolist()])


def with_classes(
    source: ClassSource, rows: Tensor, own: Tensor, counts: Tensor, groups: Tensor, how: Augment
) -> ClassSource:
    """The source with other training classes beside those that it has: of `own` (C,) drawings each, which lie at
    `rows`, class after class, and of which `counts` (C,) may be asked for."""
    pool = source.pool
    assert isinstance(pool, TensorPool)
    more = RepeatedPool(
        format=pool.format, x=pool.x, rows=torch.cat([pool.rows, rows]),
        starts=torch.cat([pool.starts, len(pool.rows) + own.cumsum(0) - own]), own=torch.cat([pool.counts, own]),
        counts=torch.cat([pool.counts, counts]), groups=torch.cat([pool.groups, groups]),
        names=(*pool.names, *(f"made {i}" for i in range(len(own)))),
    )  # fmt: skip
    splits = dict(source.splits) | {"train": len(pool.counts) + torch.arange(len(own))}
    return replace(source, pool=more, splits=splits, augmentation=how, symmetries=8, symmetric_splits=("train",))


def trained(source: ClassSource, steps: int, folder: Path) -> qs.Run:
    """A prototypical network, from tasks of many ways and one shot."""
    config = qs.RunConfig(
        name="t", model=models.part("conv4", width=WIDTH), learner=learners.part("protonet"), ways=5, queries=COPIES,
        train_ways=WAYS, iterations=steps, meta_batch=1, optimizer="Muon", lr=2e-3, schedule="CosineAnnealingLR",
        average=0.98, validate_every=steps + 1, log_every=steps + 1, checkpoint_every=10 * steps + 1, compile="off",
        validation_episodes=100, seed=_SEED,
    )  # fmt: skip
    return qs.train(config, out=folder, source=source, quiet=True)


def measured(run: qs.Run, split: str, episodes: int) -> dict[str, Any]:
    """One-shot accuracy of 5 and 20 ways, on characters that are new; turned ones are classes too, as is published."""
    found: dict[str, Any] = {}
    asked = qs.Run(run.folder, source=labelled())
    for ways in (5, 20):
        result = asked.evaluate(
            ways=ways, queries=QUERIES if ways == 5 else 5, split=split, episodes=episodes, compare_supports=False
        )
        found[f"{ways}-way {split}"] = interval(result.values)
    return found


def labelled() -> ClassSource:
    """The split of Vinyals et al. (2016)."""
    source = qs.tasks.omniglot(symmetries=4)
    assert isinstance(source, ClassSource)
    return source


def drawn(run: qs.Run, source: ClassSource) -> Tensor:
    """What the trained network makes of all training drawings, (n, D)."""
    rows, network = training_rows(source), run.module()
    with torch.no_grad():
        return torch.cat([network(source.pool.format.features(source.pool.x[part])) for part in rows.split(500)])


def unlabelled() -> None:
    """The drawings of the training characters without their labels; what is chosen, on validation characters."""
    began, source = time.perf_counter(), labelled()
    rows: dict[str, Any] = {}
    tried: dict[str, Any] = {}

    def add(name: str, run: qs.Run) -> None:
        rows[name] = measured(run, "val", VALIDATION) | measured(run, "test", EPISODES)
        told = " ".join(f"{k} {100 * v['mean']:.2f}" for k, v in rows[name].items())
        print(name, told, f"{time.perf_counter() - began:.0f} s", flush=True)
        settings = {"steps": STEPS, "tried steps": TRIED, "ways": WAYS, "width": WIDTH, "seed": _SEED}
        store("unlabelled", {**settings, "drawings": len(training_rows(source)), "tried": tried, "rows": rows})

    with TemporaryDirectory() as place:
        folder = Path(place)
        for name, how in SETTINGS.items():
            tried[name] = measured(trained(without_labels(source, how), TRIED, folder / name), "val", VALIDATION)
            print(
                name, {k: v["mean"] for k, v in tried[name].items()}, f"{time.perf_counter() - began:.0f} s", flush=True
            )
        best = SETTINGS[max(tried, key=lambda one: sum(v["mean"] for v in tried[one].values()))]
        add("not trained", trained(without_labels(source, best), 0, folder / "none"))
        alone = trained(without_labels(source, best), STEPS, folder / "alone")
        add("each drawing a class (UMTRA)", alone)
        of_clusters = clustered(source, drawn(alone, source), best)
        add("clusters of what it learned (CACTUs)", trained(of_clusters, STEPS, folder / "clusters"))
        with_labels = replace(source, augmentation=best, symmetries=8, symmetric_splits=("train",))
        add("with the labels", trained(with_labels, STEPS, folder / "labels"))

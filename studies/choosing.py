"""Training tasks of several domains, chosen by what they teach, against uniform sampling; tested on other domains."""

from __future__ import annotations

import os
import re
import time
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import torch

import quickstudy as qs
from quickstudy import rng
from quickstudy.registry import learners, models
from quickstudy.tasks.classes import ClassSource
from quickstudy.training.loop import Training
from studies.common import interval, store

TRAINING = {"emoji": 300, "icons": 281, "tiny_imagenet_30": 200, "omniglot": 200}
TESTED = ("traffic_signs", "cifar10", "steel_defects")
HOW = ("uniform", "loss", "alignment", "exp3")
STEPS, SEEDS, EPISODES, WIDTH, SIZE, HELD = 300, 3, 300, 32, 32, 0.2


def drawings(name: str, most: int | None = None) -> list[tuple[str, bytes, str]]:
    """Class, file and track of the records of a domain, of at most so many classes, drawn at random."""
    data = Path(os.environ["QUICKSTUDY_DATA"])
    place = data / ("omniglot/images_background.zip" if name == "omniglot" else f"domains/{name}.zip")
    with zipfile.ZipFile(place) as archive:
        paths = [PurePosixPath(one) for one in archive.namelist() if one.endswith((".png", ".jpg", ".webp"))]
        classes = sorted({path.parent for path in paths})
        order = rng.permutation(rng.key(0, "domain", name), len(classes))[:most].tolist()
        kept = {classes[i] for i in order}
        found = []
        for path in sorted(paths):
            if path.parent in kept:
                track = re.search("track([0-9]+)_", path.name)
                group = f"{path.parent}/{track[1] if track else path.name}"
                label = f"{name}/{'-'.join(path.parent.parts[1:])}"
                found.append((label, archive.read(str(path)), group))
    return found


def domains() -> ClassSource:
    """All domains in one pool; the classes of a task are of one. Of the training domains, one class in five is for
    validation; the other domains are for test."""
    records = [one for name, most in TRAINING.items() for one in drawings(name, most)]
    records += [one for name in TESTED for one in drawings(name)]
    labels = [label for label, _, _ in records]
    names = sorted(set(labels))
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name in (*TRAINING, *TESTED):
        own = [label for label in names if label.startswith(f"{name}/")]
        order = [own[i] for i in rng.permutation(rng.key(0, "held", name), len(own)).tolist()]
        cut = round(HELD * len(own)) if name in TRAINING else 0
        splits["val"] += order[:cut]
        splits["train" if name in TRAINING else "test"] += order[cut:]
    made = qs.tasks.arrays(
        [data for _, data, _ in records], labels, format=qs.formats.Image(size=SIZE, channels=3), splits=splits,
        groups=[group for _, _, group in records],
    )  # fmt: skip
    number = {name: i for i, name in enumerate((*TRAINING, *TESTED))}
    groups = torch.tensor([number[name.split("/")[0]] for name in made.pool.names])  # type: ignore[attr-defined]
    return replace(made, within=True, pool=replace(made.pool, groups=groups))  # type: ignore[type-var]


def of_domain(source: ClassSource, name: str) -> ClassSource:
    """The source with the test classes of one domain only."""
    names = source.pool.listed(source.splits["test"].tolist())
    own = torch.tensor([one.startswith(f"{name}/") for one in names])
    return replace(source, splits=dict(source.splits) | {"test": source.splits["test"][own]})


def trained(source: ClassSource, how: Any, seed: int, folder: Path) -> qs.Run:
    """A prototypical network after the same steps, whatever chooses its tasks."""
    config = qs.RunConfig(
        name="c", model=models.part("conv4", width=WIDTH), learner=learners.part("protonet"), ways=5, shots=1,
        queries=4, iterations=STEPS, meta_batch=2, optimizer="Muon", lr=2e-3, schedule="CosineAnnealingLR", choose=how,
        candidates=16, validate_every=STEPS, validation_episodes=300, log_every=STEPS, checkpoint_every=STEPS,
        compile="off", seed=seed,
    )  # fmt: skip
    return qs.train(config, out=folder, source=source, quiet=True)


def choosing() -> None:
    """Ways of choosing, seeds and test domains; 5-way 5-shot, the same test tasks for all of one seed."""
    began, source = time.perf_counter(), domains()
    values: dict[str, dict[str, list[list[float]]]] = {how: {name: [] for name in TESTED} for how in HOW}
    validation: dict[str, list[float]] = {how: [] for how in HOW}
    shares: dict[str, list[dict[str, float]]] = {how: [] for how in HOW}
    with TemporaryDirectory() as place:
        for seed in range(SEEDS):
            for how in HOW:
                run = trained(source, how, seed, Path(place) / f"{how} {seed}")
                validation[how].append(run.kept["validation"])
                shares[how].append(taken(run, source, how))
                for name in TESTED:
                    again = qs.Run(run.folder, source=of_domain(source, name))
                    result = again.evaluate(shots=5, queries=10, episodes=EPISODES, compare_supports=False)
                    values[how][name].append(result.values)
                told = " ".join(f"{n} {100 * sum(v[-1]) / EPISODES:.2f}" for n, v in values[how].items())
                print(
                    seed,
                    how,
                    f"val {validation[how][-1]:.4f}",
                    told,
                    f"{time.perf_counter() - began:.0f} s",
                    flush=True,
                )
            store("choosing", {"steps": STEPS, "episodes": EPISODES, **summary(values, validation, shares)})


def taken(run: qs.Run, source: ClassSource, how: str) -> dict[str, float]:
    """The share of the training tasks that came from each domain; uniform choice needs no counting."""
    arms = source.arms("train")
    if how == "uniform":
        return dict.fromkeys(arms, 1 / len(arms))
    again = Training(run.parts, run.config, run.folder, lambda *_: None)
    again.resume()
    seen = again.steps.choice.seen
    return dict(zip(arms, (seen / seen.sum()).tolist(), strict=True))


def summary(values: dict[str, Any], validation: dict[str, Any], shares: dict[str, Any]) -> dict[str, Any]:
    """For each way: every domain, their mean, and that less the mean of uniform choice, paired by task and seed."""
    rows: dict[str, Any] = {}
    for how, found in values.items():
        flat = {name: [v for seed in seeds for v in seed] for name, seeds in found.items()}
        mean = [sum(three) / len(three) for three in zip(*flat.values(), strict=True)]
        base = [[v for seed in values["uniform"][name] for v in seed][: len(mean)] for name in TESTED]
        apart = [m - sum(three) / len(three) for m, three in zip(mean, zip(*base, strict=True), strict=False)]
        rows[how] = {name: interval(own) for name, own in flat.items()} | {"mean": interval(mean)} if mean else {}
        if mean and how != "uniform":
            rows[how]["less uniform"] = interval(apart)
            size = EPISODES
            rows[how]["by seed"] = [sum(apart[i : i + size]) / size for i in range(0, len(apart), size)]
        rows[how] |= {"validation": validation[how], "shares": shares[how]}
    return {"seeds": len(validation["uniform"]), "rows": rows}

"""Models that grow: classes one at a time, beside adapting to all of them at once.

`python -m studies growing` trains a small network for each source and learner, some minutes each, and grows a model in
each test task by the calls that users make. QUICKSTUDY_TASKS: test tasks of each. QUICKSTUDY_RUNS: a folder where
trained runs are kept, and found again.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.registry import Part, learners
from quickstudy.rng import key, permutation
from studies.common import found_or_trained, interval, store
from studies.trust import SOURCES

TASKS, STEPS, SEED = 1000, 300, 0
ADAPTED = 100  # tasks of learners that are adapted anew, which takes long


@dataclass(frozen=True)
class Row:
    """kept: whether models keep their examples; if not, they grow by sums."""

    source: str
    learner: Part[Any]
    kept: bool


ROWS = {
    "Omniglot, protonet": Row("Omniglot", learners.part("protonet"), False),
    "Omniglot, r2d2": Row("Omniglot", learners.part("r2d2"), False),
    "BANKING77, protonet": Row("BANKING77", learners.part("protonet", distance="cosine", temperature=10.0), False),
    "BANKING77, r2d2": Row("BANKING77", learners.part("r2d2"), False),
    "tiny ImageNet, protonet": Row("tiny ImageNet", learners.part("protonet"), False),
    "tiny ImageNet, r2d2": Row("tiny ImageNet", learners.part("r2d2"), False),
    "tiny ImageNet, maml": Row("tiny ImageNet", learners.part("maml", lr=0.05, steps=3, norm="per_step"), True),
    "BANKING77, anil": Row("BANKING77", learners.part("anil", lr=0.5, steps=5), True),
}


@dataclass(frozen=True)
class Shown:
    """What users would have of one task: records of each class, as many of each, and further ones to ask about."""

    shots: list[Any]
    queries: Any
    truth: list[str]

    @property
    def names(self) -> list[str]:
        return [f"class {i}" for i in range(len(self.shots))]


def trained(row: Row, place: Path, folder: Path) -> qs.Run:
    config = SOURCES[row.source][0](place)
    few = {"train_ways": config.ways} if row.kept else {}
    config = replace(
        config, learner=row.learner, iterations=STEPS, validate_every=STEPS, device="cpu", seed=SEED,
        checkpoint_every=10**6, **few,
    )  # fmt: skip
    return found_or_trained(config, folder)


def images(run: qs.Run, index: int) -> Shown:
    episode = run.parts.source.episodes("test", torch.tensor([index]))
    (x, y), (asked, truth) = ((part.x[0], part.y[0]) for part in (episode.support, episode.query))
    shots = [x[y == i] for i in range(run.config.ways)]
    return Shown(shots, asked, [f"class {i}" for i in truth.tolist()])


@cache
def _rows(path: str) -> list[tuple[str, str]]:
    """Texts with their labels."""
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def texts(run: qs.Run, index: int) -> Shown:
    """Drawn anew from the texts themselves, since what the source gives are numbers of tokens."""
    config, chance = run.config, key(SEED, f"growing {index}")
    rows = _rows(config.tasks.options["path"])
    classes = sorted(run.parts.source.classes("test"))
    drawn = [classes[i] for i in permutation(chance, len(classes)).tolist()[: config.ways]]
    shots, asked, truth = [], [], []
    for number, name in enumerate(drawn):
        own = [text for text, label in rows if label == name]
        picked = [own[i] for i in permutation(key(SEED, f"growing {index} {name}"), len(own)).tolist()]
        shots.append(picked[: config.shots])
        asked += picked[config.shots : config.shots + config.queries]
        truth += [f"class {number}"] * len(picked[config.shots : config.shots + config.queries])
    return Shown(shots, asked, truth)


def _labelled(shown: Shown, which: Sequence[int]) -> tuple[Any, list[str]]:
    """Records of these classes, and their labels."""
    parts = [shown.shots[i] for i in which]
    records: Any = torch.cat(parts) if isinstance(parts[0], Tensor) else [text for part in parts for text in part]
    return records, [shown.names[i] for i in which for _ in range(len(shown.shots[i]))]


def _said(model: qs.Model, shown: Shown) -> tuple[Tensor, float]:
    """Probabilities with classes in the task's order, and the share of right answers."""
    answer = model.predict(shown.queries)
    order = [model.names.index(name) for name in shown.names]
    right = [said == true for said, true in zip(answer.names, shown.truth, strict=True)]
    return answer.probabilities[:, order], sum(right) / len(right)


def grown(run: qs.Run, shown: Shown, kept: bool) -> dict[str, float]:
    """One task: two classes at first, then one after the other, beside all at once."""
    ways = range(len(shown.shots))
    once, all_right = _said(run.adapt(*_labelled(shown, ways), trust=False, keep=kept), shown)
    model = run.adapt(*_labelled(shown, ways[:2]), trust=False, keep=kept)
    for i in ways[2:]:
        model = model.more(*_labelled(shown, [i]))
    after, right = _said(model, shown)
    apart = float((after - once).abs().max())
    return {"at once": all_right, "grown": right, "difference": right - all_right, "apart": apart}


def measured(name: str, place: Path, count: int) -> dict[str, Any]:
    row = ROWS[name]
    run = trained(row, place, place / f"grown-{name.replace(' ', '-').replace(',', '')}")
    draw = texts if row.source == "BANKING77" else images
    count = min(count, ADAPTED) if row.kept else count
    rows = [grown(run, draw(run, index), row.kept) for index in range(count)]
    size = {"ways": run.config.ways, "shots": run.config.shots, "kept": row.kept, "learner": row.learner.name}
    found = {key: interval([one[key] for one in rows]) for key in ("at once", "grown", "difference")}
    return {**size, "source": row.source, "seconds": run.seconds, **found, "apart": max(one["apart"] for one in rows)}


def growing() -> None:
    torch.set_num_threads(1)
    logging.getLogger("quickstudy").setLevel(logging.ERROR)  # a model of more classes is worse on those it knew
    count, rows = int(os.environ.get("QUICKSTUDY_TASKS", TASKS)), {}
    with TemporaryDirectory() as folder:
        place = Path(os.environ.get("QUICKSTUDY_RUNS", folder))
        for name in ROWS:
            rows[name] = measured(name, place, count)
            print(name, rows[name], flush=True)
            store("growing", {"rows": rows, "steps": STEPS, "seed": SEED})

"""Intents without pretrained weights: what a network of n-grams learns, beside tf-idf."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.registry import formats, recipes
from studies.common import in_processes, interval, store
from studies.texts import EPISODES, FOLDS, QUERIES, fold_at, letters

_SEED = 0


def rows_of(path: str, labels: set[str]) -> tuple[list[str], list[str]]:
    """The texts of some labels, and their labels."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        found = [(row["text"], row["label"]) for row in csv.DictReader(file) if row["label"] in labels]
    return [text for text, _ in found], [label for _, label in found]


def tf_idf(path: str, named: dict[str, list[str]]) -> dict[str, Any]:
    """Nearest mean by cosine of tf-idf of runs of letters, learned from training texts: tasks of the test classes."""
    seen = letters().fit(rows_of(path, set(named["train"]))[0])
    texts, labels = rows_of(path, set(named["test"]))
    z = torch.from_numpy(np.asarray(seen.transform(texts).todense(), dtype=np.float32))
    everything = {"train": sorted(set(labels)), "val": [], "test": []}
    tasks = qs.tasks.arrays(z, labels, format=formats.make("array", shape=tuple(z.shape[1:])), splits=everything)
    found: dict[str, Any] = {}
    for shots in (1, 5):
        source, values = tasks.sampled(qs.Sampling(ways=5, shots=shots, queries=QUERIES)).seeded(_SEED), []
        for i in range(EPISODES):
            support, query = source.episodes("train", torch.tensor([i]))
            means = support.x[0].view(5, shots, -1).mean(1)
            said = (query.x[0] @ torch.nn.functional.normalize(means, dim=1).T).argmax(1)
            values.append(float((said == query.y[0]).float().mean()))
        found[f"{shots}-shot"] = interval(values)
    return found


def fold_of(fold: int) -> dict[str, Any]:
    """The recipe `text` on the training classes of a published fold, and tf-idf."""
    began = time.perf_counter()
    with TemporaryDirectory() as place:
        path, splits = fold_at("BANKING77", fold, Path(place))
        named = json.loads(Path(splits).read_text())
        plain = recipes["text"]()
        options = plain.tasks.options | {"path": path, "splits": splits}
        config = replace(plain, tasks=replace(plain.tasks, options=options), queries=QUERIES, seed=_SEED)
        run = qs.train(config, out=Path(place, "run"), quiet=True)
        found: dict[str, Any] = {}
        for shots in (1, 5):
            result = run.evaluate(shots=shots, queries=QUERIES, episodes=EPISODES, compare_supports=False, quiet=True)
            found[f"{shots}-shot"] = interval(result.values)
    row = {"n-grams": found, "tf-idf": tf_idf(path, named), "seconds": time.perf_counter() - began}
    print(fold, row, flush=True)
    return row


def scratch() -> None:
    """The five published folds of BANKING77, without pretrained weights."""
    rows = []
    for _, row in in_processes(fold_of, range(FOLDS)):
        rows.append(row)
        store("scratch", {"seed": _SEED, "episodes": EPISODES, "rows": rows})

"""Keeping a bank small and whole: merging near-duplicates, forgetting what is of little use, taking entries out."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import torch.nn.functional as F

from quickstudy.averaging import mean
from quickstudy.averaging.means import direction
from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, ConfigError, RunError
from quickstudy.memory.bank import Bank
from quickstudy.memory.codec import encode
from quickstudy.memory.entry import Entry, pack_examples
from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.json import write_json
from quickstudy.storage.tensors import save_tensors
from quickstudy.targets.metric import headline

_log = logging.getLogger(__name__)
_RELATED = 0.9  # the least cosine of the parameters of tasks that are averaged: further apart, the best is kept alone


def usefulness(entries: Sequence[Entry]) -> dict[str, float]:
    """How often later tasks started from each entry, those of several parents counting less; by id.

    An entry that was merged from others has their uses as well.
    """
    uses = {entry.id: float(entry.statistics.get("uses", 0.0)) for entry in entries}
    for entry in entries:
        for parent in entry.parents:
            if parent in uses:
                uses[parent] += 1 / len(entry.parents)
    return uses


def near_duplicates(entries: Sequence[Entry], closeness: float = 0.98) -> list[list[Entry]]:
    """Groups of entries of one signature and φ that are described alike: within `closeness` of the group's first."""
    groups: list[list[Entry]] = []
    for kind in dict.fromkeys((entry.signature, entry.base) for entry in entries):
        left = [entry for entry in entries if (entry.signature, entry.base) == kind]
        vectors = F.normalize(torch.stack([entry.descriptor for entry in left]), dim=1)
        free = torch.ones(len(left), dtype=torch.bool)
        for index in range(len(left)):
            if free[index]:
                alike = free & (vectors @ vectors[index] >= closeness)
                alike[index] = True
                free &= ~alike
                if int(alike.sum()) > 1:
                    groups.append([left[i] for i in alike.nonzero().flatten().tolist()])
    return groups


def merge(bank: Bank, closeness: float = 0.98) -> int:
    """Make one entry of each group of near-duplicates; how many entries that saves.

    The new entry has the mean of their parameters where these are related, and otherwise those of the best (by
    its headline); the best's head, figures and support set; and the uses of all. What is merged is removed once
    the new entry is stored. Entries that are damaged are left as they are, with a warning.
    """
    saved, entries = 0, bank.entries()
    used = usefulness(entries)
    for group in near_duplicates(entries, closeness):
        tasks, wrong = bank.load_many([entry.id for entry in group])
        for text in wrong.values():
            _log.warning("%s It is not merged.", text)
        whole = [entry for entry in group if entry.id in tasks]
        if len(whole) < 2:
            continue
        best = max(whole, key=_goodness)
        entry = replace(
            best,
            id=uuid4().hex,
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            descriptor=torch.stack([e.descriptor for e in whole]).mean(0),
            parents=tuple(dict.fromkeys(parent for e in whole for parent in e.parents)),
            statistics=best.statistics
            | {"merged": sum(e.statistics.get("merged", 1) for e in whole), "uses": sum(used[e.id] for e in whole)},
        )
        support = bank.support(best.id)
        parameters = encode(_joined(bank, best, tasks), bank.phi.origin(best.base), best.codec)
        bank.add([(entry, parameters, None if support is None else pack_examples(support))])
        bank.remove([e.id for e in whole])
        saved += len(whole) - 1
    bank.compact()
    return saved


def _joined(bank: Bank, best: Entry, tasks: dict[str, Params]) -> Params:
    """The mean of the bodies that are related to the best's, on the best's head."""
    names = bank.phi.body(best.base) or list(tasks[best.id])
    bodies = {id: {name: task[name] for name in names} for id, task in tasks.items()}
    own = direction(bodies[best.id])
    others = [body for id, body in bodies.items() if id != best.id]
    near = [body for body in others if float(F.cosine_similarity(direction(body), own, dim=0)) >= _RELATED]
    return tasks[best.id] | mean([bodies[best.id], *near])


def _goodness(entry: Entry) -> float:
    """How well a task was learned, by the headline of its query set or else of its support set; more is better."""
    figures = {name.removeprefix("support "): value for name, value in entry.metrics.items()} | dict(entry.metrics)
    metric = headline(figures)
    return -math.inf if metric is None else metric.goodness(figures[metric.name])


def prune(bank: Bank, *, count: int | None = None, size: int | None = None, dry: bool = False) -> list[Entry]:
    """Forget the least useful entries until at most `count` entries, of `size` bytes, are left; those forgotten.

    Entries are compared by how often they were started from for each task that came after them, so that what was
    remembered last, which nothing could start from yet, is not forgotten first. dry: only say what would be forgotten.
    """
    if (count is None and size is None) or (count or 0) < 0 or (size or 0) < 0:
        raise ConfigError(f"Give a budget to prune to, a count or a size in bytes; found {count} and {size}.")
    entries = bank.entries()
    useful = usefulness(entries)
    later = {entry.id: len(entries) - 1 - index for index, entry in enumerate(entries)}  # they come oldest first
    order = sorted(entries, key=lambda entry: ((useful[entry.id] + 1) / (later[entry.id] + 1), entry.created))
    left, bytes_left, forgotten = len(entries), sum(entry.size for entry in entries), []
    for entry in order:
        if (count is None or left <= count) and (size is None or bytes_left <= size):
            break
        forgotten.append(entry)
        left, bytes_left = left - 1, bytes_left - entry.size
    if dry:
        return forgotten
    bank.remove([entry.id for entry in forgotten])
    bank.phi.keep({entry.base for entry in bank.entries()})
    bank.compact()
    return forgotten


def export(bank: Bank, folder: str | Path) -> Path:
    """Every entry as `<id>.safetensors` (float32) and `<id>.json`, and each φ as `phi-<id>.*`, for any program to read.

    A support set that was kept is `<id>.support.safetensors`. What is damaged is left out with a warning.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty. Choose another folder (--out), or empty it first.")
    folder.mkdir(parents=True, exist_ok=True)
    for id in bank.phi.ids():
        try:
            params, facts = bank.phi.load(id)
        except CheckpointError as error:
            _log.warning("%s It is not exported.", error)
            continue
        _write(folder / f"phi-{id}", params, facts)
    for entry in bank.entries():
        tasks, wrong = bank.load_many([entry.id])
        for text in wrong.values():
            _log.warning("%s It is not exported.", text)
        for task in tasks.values():
            facts = asdict(replace(entry, descriptor=torch.zeros(0))) | {"descriptor": entry.descriptor.tolist()}
            _write(folder / entry.id, task, facts)
            if (support := bank.support(entry.id)) is not None:
                write_atomically(folder / f"{entry.id}.support.safetensors", pack_examples(support))
    return folder


def _write(path: Path, tensors: Params, facts: Mapping[str, Any]) -> None:
    save_tensors(path.with_name(f"{path.name}.safetensors"), tensors, {"kind": "memory"})
    write_json(path.with_name(f"{path.name}.json"), facts)

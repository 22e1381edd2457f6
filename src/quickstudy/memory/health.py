"""Keeping a bank small and whole: merging near-duplicates, forgetting what is of little use, taking entries out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import torch
import torch.nn.functional as F

from quickstudy.averaging import mean
from quickstudy.averaging.means import flat
from quickstudy.errors import ConfigError
from quickstudy.files import writing
from quickstudy.memory.bank import Bank
from quickstudy.memory.codec import encode, pack
from quickstudy.memory.entry import Entry
from quickstudy.train.folders import refuse_occupied

_RELATED = 0.9  # the least cosine of the parameters of tasks that are averaged: further apart, the best is kept alone


def usefulness(entries: Sequence[Entry]) -> dict[str, float]:
    """How often later tasks started from each entry, those of several parents counting less; by id."""
    found = {entry.id: 0.0 for entry in entries}
    for entry in entries:
        for parent in entry.parents:
            if parent in found:
                found[parent] += 1 / len(entry.parents)
    return found


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
    accuracy or error). A head is the best's. What is merged is removed once the new entry is stored.
    """
    saved = 0
    for group in near_duplicates(bank.entries(), closeness):
        best = max(group, key=_goodness)
        tasks = {entry.id: bank.load(entry.id) for entry in group}
        shared = [n for n, v in tasks[best.id].items() if all(t[n].shape == v.shape for t in tasks.values() if n in t)]
        bodies = {id: {n: task[n] for n in shared} for id, task in tasks.items()}
        own = flat(bodies[best.id])
        related = [i for i, body in bodies.items() if float(F.cosine_similarity(flat(body), own, dim=0)) >= _RELATED]
        head = {n: v for n, v in tasks[best.id].items() if n not in _bodies(bank, best)}
        parameters = tasks[best.id] | mean([bodies[i] for i in related]) | head
        entry = replace(
            best,
            id=uuid4().hex,
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            descriptor=torch.stack([e.descriptor for e in group]).mean(0),
            parents=tuple(dict.fromkeys(parent for e in group for parent in e.parents)),
            statistics=best.statistics | {"merged": sum(e.statistics.get("merged", 1) for e in group)},
            metrics={},
        )
        bank.add([(entry, encode(parameters, bank.origin(best.base), best.codec), None)])
        bank.remove([e.id for e in group])
        saved += len(group) - 1
    return saved


def _bodies(bank: Bank, entry: Entry) -> set[str]:
    """The names of the parameters that are recalled; a head's are not."""
    return set(bank.base(entry.base)[1].get("body", ())) or set(bank.load(entry.id))


def _goodness(entry: Entry) -> float:
    return entry.metrics.get("accuracy", -entry.metrics.get("mse", float("inf")))


def prune(bank: Bank, *, count: int | None = None, size: int | None = None) -> list[Entry]:
    """Forget the least useful entries until at most `count` entries, of `size` bytes, are left; those forgotten.

    Of equally useful ones the oldest goes first.
    """
    if (count is None and size is None) or (count or 0) < 0 or (size or 0) < 0:
        raise ConfigError(f"Give a budget to prune to, a count or a size in bytes; found {count} and {size}.")
    entries = bank.entries()
    useful = usefulness(entries)
    order = sorted(entries, key=lambda entry: (useful[entry.id], entry.created))
    left, bytes_left, forgotten = len(entries), sum(entry.size for entry in entries), []
    for entry in order:
        if (count is None or left <= count) and (size is None or bytes_left <= size):
            break
        forgotten.append(entry)
        left, bytes_left = left - 1, bytes_left - entry.size
    bank.remove([entry.id for entry in forgotten])
    bank.compact()
    return forgotten


def export(bank: Bank, folder: str | Path) -> Path:
    """Every entry as `<id>.safetensors` (float32) and `<id>.json`, readable without quickstudy."""
    folder = Path(folder)
    refuse_occupied(folder)
    for entry in bank.entries():
        facts = asdict(replace(entry, descriptor=torch.zeros(0))) | {"descriptor": entry.descriptor.tolist()}
        for suffix, data in (
            ("safetensors", pack(bank.load(entry.id))),
            ("json", json.dumps(facts, indent=1).encode()),
        ):
            with writing(folder / f"{entry.id}.{suffix}") as file:
                file.write(data)
    return folder

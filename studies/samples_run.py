"""The tries of `studies.samples` in processes of their own, and what is chosen among them.

`python -m studies.samples_run` needs no packages of other studies. What runs is told by the environment:

QUICKSTUDY_CELLS: patterns of 'DATA SET/SHOTS/WAY', separated by ';', such as 'HWU64/5/*;*/10/frozen'; the figures of
others are kept as they were stored. QUICKSTUDY_PROCESSES: how many run at once. QUICKSTUDY_SECONDS: after which no
other try begins. QUICKSTUDY_SEEDS: tries of each way. QUICKSTUDY_STEPS: a share of all steps.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from fnmatch import fnmatchcase
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.storage.json import read_json
from studies.common import RESULTS, processes, store
from studies.samples import DATA, HEADS, SHOTS, USUAL, WAYS, Said, meta_trained, rows, steps, told, words

WORDS, MIXED = "tf-idf", "three encoders"
MEMBERS = ("others, names", "others, episodes, names, tokens dropped", "others, classifier, names, tokens dropped")
"""The ways whose answers `MIXED` averages."""
FIRST = (WORDS, "frozen", "frozen, names", "others", "others, episodes", "others, episodes, names", *MEMBERS)
PARTS = ("valid", "test")
_EVERY = 20.0  # seconds between two writings of the results


class Cell(NamedTuple):
    name: str
    shots: int
    way: str


class Try(NamedTuple):
    cell: Cell
    seed: int


def tries(patterns: str, seeds: int) -> list[Try]:
    """Those to run, the most telling first: all seeds of FIRST, then others; what draws nothing is tried once."""
    ways = [WORDS, *WAYS]
    order = [(way, seed) for seed in range(seeds) for way in ways if not seed or _draws(way)]
    order.sort(key=lambda one: 0 if one[0] in FIRST else 1 + one[1])
    found = [Try(Cell(name, shots, way), seed) for way, seed in order for name in DATA for shots in SHOTS]
    wanted = patterns.split(";")
    return [one for one in found if any(fnmatchcase(f"{'/'.join(map(str, one.cell))}", p) for p in wanted)]


def _draws(way: str) -> bool:
    return way != WORDS and bool(WAYS[way].fit or WAYS[way].others)


def _truth(name: str, part: str) -> Tensor:
    labels = rows(name, part)[1]
    number = {label: i for i, label in enumerate(sorted(set(rows(name, "train_5")[1])))}
    return torch.tensor([number[label] for label in labels])


def _right(said: Tensor, truth: Tensor) -> Tensor:
    return (said.argmax(1) == truth).double()


def _share(right: Tensor) -> dict[str, float]:
    """As `interval`, over texts, which are too many for lists."""
    return {"mean": float(right.mean()), "ci95": 1.96 * float(right.std()) / len(right) ** 0.5, "count": len(right)}


class Figures:
    """What the tries of each cell said, and how often it was right."""

    def __init__(self) -> None:
        self.truth = {(name, part): _truth(name, part) for name in DATA for part in PARTS}
        self.sums: dict[tuple[Cell, str, str], Tensor] = {}
        self.right: dict[tuple[Cell, str, str], list[Tensor]] = defaultdict(list)

    def add(self, cell: Cell, said: dict[str, dict[str, Said]]) -> None:
        for head, parts in said.items():
            for part, probabilities in parts.items():
                key, one = (cell, head, part), torch.from_numpy(probabilities).float()
                self.sums[key] = self.sums[key] + one if key in self.sums else one
                self.right[key].append(_right(one, self.truth[cell.name, part]))

    def row(self, cell: Cell) -> dict[str, Any]:
        """By head: 'single', a try's accuracy over all tries, and 'averaged', of their mean probabilities."""
        found: dict[str, Any] = {}
        for head in (head for head in HEADS if (cell, head, PARTS[0]) in self.sums):
            seeds = len(self.right[cell, head, PARTS[0]])
            found[head] = {"seeds": seeds, "single": {}, **({"averaged": {}} if seeds > 1 else {})}
            for part in PARTS:
                right = torch.stack(self.right[cell, head, part])
                of_seeds = right.mean(1).tolist()
                found[head]["single"][part] = _share(right.mean(0)) | {"of seeds": of_seeds}
                if seeds > 1:
                    both = _right(self.sums[cell, head, part], self.truth[cell.name, part])
                    found[head]["averaged"][part] = _share(both)
        return found

    def mix(self, name: str, shots: int) -> None:
        """The mean over the tries of all MEMBERS, as one more way, if they are there."""
        cell, members = Cell(name, shots, MIXED), [Cell(name, shots, way) for way in MEMBERS]
        for head in HEADS:
            for part in PARTS:
                sums = [self.sums[one, head, part] for one in members if (one, head, part) in self.sums]
                if len(sums) == len(MEMBERS):
                    counts = [len(self.right[one, head, part]) for one in members]
                    mean = torch.stack([a / n for a, n in zip(sums, counts, strict=True)]).mean(0)
                    self.sums[cell, head, part] = mean
                    self.right[cell, head, part] = [_right(mean, self.truth[name, part])]


def chosen(found: dict[str, Any], name: str, shots: int) -> dict[str, Any] | None:
    """What is best on the validation texts of the *other* data sets, at as many shots, and its figure on this one.

    None while a data set lacks its figures. Nothing of this data set has a part in it.
    """
    at, rest = str(shots), [one for one in DATA if one != name]
    scores: dict[tuple[str, str, str], float] = {}
    for way, heads in found[name][at].items():
        for head, kinds in heads.items():
            for kind in ("single", "averaged"):
                places = [found[one][at].get(way, {}).get(head, {}).get(kind) for one in rest]
                if kind in kinds and all(places) and way != WORDS:
                    scores[way, head, kind] = sum(place["valid"]["mean"] for place in places) / len(rest)
    if not scores:
        return None
    way, head, kind = best = max(scores, key=lambda one: scores[one])
    test = found[name][at][way][head][kind]["test"]
    return {"way": way, "head": head, "kind": kind, "valid elsewhere": scores[best], "test": test}


def _kept() -> dict[str, Any]:
    """The rows that are stored, by data set and shots; empty ones where there are none."""
    place = RESULTS / "samples.json"
    before = read_json(place)["rows"] if place.exists() and "QUICKSTUDY_CELLS" in os.environ else {}
    return {name: {str(k): dict(before.get(name, {}).get(str(k), {})) for k in SHOTS} for name in DATA}


def _alone() -> None:
    torch.set_num_threads(1)


class Work:
    """Tries at work, and those that wait for the encoder that they start from."""

    def __init__(self, pool: Any, folder: Path, waiting: Iterable[Try]) -> None:
        self.pool, self.folder, self.waiting = pool, folder, list(waiting)
        self.encoders: dict[tuple[str, int], str] = {}  # that are there
        self.running: dict[Future[Any], Try | tuple[str, int]] = {}
        needed = {(one.cell.name, one.seed) for one in self.waiting if self._starts(one)}
        self.unmade = sorted(needed, key=lambda one: one[1])

    @staticmethod
    def _starts(one: Try) -> bool:
        return one.cell.way != WORDS and WAYS[one.cell.way].others

    def fill(self, most: int) -> None:
        """Begin what can begin: encoders that others wait for, then tries in their order."""
        while len(self.running) < most:
            if self.unmade:
                name, seed = self.unmade.pop(0)
                out = str(self.folder / f"{DATA[name]}-{seed}")
                self.running[self.pool.submit(meta_trained, name, seed, out)] = name, seed
                continue
            ready = (one for one in self.waiting if not self._starts(one) or (one.cell.name, one.seed) in self.encoders)
            if (one := next(ready, None)) is None:
                return
            self.waiting.remove(one)
            (name, shots, way), seed = one
            job = (words, name, shots) if way == WORDS else (told, name, shots, way, seed, self._start(one))
            self.running[self.pool.submit(*job)] = one

    def _start(self, one: Try) -> str:
        return self.encoders[one.cell.name, one.seed] if self._starts(one) else ""


def samples() -> None:
    """All classes of BANKING77, HWU64 and CLINC150 at once, from the published 5- and 10-shot samples."""
    env, began, written = os.environ, time.perf_counter(), 0.0
    most = processes()
    seconds, seeds = float(env.get("QUICKSTUDY_SECONDS", "inf")), int(env.get("QUICKSTUDY_SEEDS", 3))
    figures, found = Figures(), _kept()
    facts: dict[str, Any] = {}
    failed: dict[str, str] = {}

    def write() -> None:
        picks = {name: {str(k): chosen(found, name, k) for k in SHOTS} for name in DATA}
        told_of = {"seeds": seeds, "steps": steps(100) / 100, "seconds": time.perf_counter() - began}
        store("samples", told_of | {"others": facts, "failed": failed, "chosen": picks, "rows": found})

    with TemporaryDirectory() as folder, ProcessPoolExecutor(most, get_context("spawn"), _alone) as pool:
        work = Work(pool, Path(folder), tries(env.get("QUICKSTUDY_CELLS", "*"), seeds))
        work.fill(most)
        while work.running:
            for done in wait(work.running, return_when=FIRST_COMPLETED).done:
                job, at = work.running.pop(done), f"{time.perf_counter() - began:.0f} s"
                if error := done.exception():
                    failed[str(tuple(job))] = f"{type(error).__name__}: {error}"
                    print("failed", job, failed[str(tuple(job))], at, flush=True)
                elif isinstance(job, Try):
                    cell = job.cell
                    figures.add(cell, done.result())
                    row = found[cell.name][str(cell.shots)][cell.way] = figures.row(cell)
                    usual = row[USUAL]["single"]["test"]["of seeds"][-1]
                    print(*cell, "seed", job.seed, f"{USUAL}: {100 * usual:.2f}", at, flush=True)
                else:
                    facts[job[0]] = done.result()
                    work.encoders[job] = str(work.folder / f"{DATA[job[0]]}-{job[1]}")
                    print("meta-trained for", *job, done.result(), at, flush=True)
            if time.perf_counter() - began < seconds:
                work.fill(most)
            if time.perf_counter() - written > _EVERY:
                written = time.perf_counter()
                write()
    for name in DATA:
        for shots in SHOTS:
            figures.mix(name, shots)
            if row := figures.row(Cell(name, shots, MIXED)):
                found[name][str(shots)][MIXED] = row
    write()
    if failed:
        raise RuntimeError(f"{len(failed)} tries failed, first: {next(iter(failed.items()))}")


if __name__ == "__main__":
    samples()

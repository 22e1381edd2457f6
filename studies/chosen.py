"""Choosing on tasks that no experience is of: what twenty minutes find, beside the recipe and a search by chance.

`python -m studies.chosen SOURCE [WAY …]` runs and keeps; `store` makes the result of all that was kept. Every way has
the same minutes, on the same machine: 'chosen' (quickstudy choose, with the package's experience), 'recipe' (the recipe
alone, for all of the time), 'random' (the same halving and final training, proposals by chance and no experience). Each
is measured on the same test tasks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import torch

from quickstudy import choosing
from quickstudy.choosing.search import VALIDATIONS
from quickstudy.choosing.trial import Attempt, attempt
from quickstudy.engine import resolve_device
from quickstudy.registry import recipes, sources
from quickstudy.runs.run import Run
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.provenance import commit, machine
from quickstudy.training.config import RunConfig
from studies.common import processes, store

KEPT = Path("runs/chosen")
MINUTES, EPISODES, SEED, TASKS = 20.0, 1000, 0, 384
DATA = Path(os.environ.get("QUICKSTUDY_DATA", "."))


def _files(archive: str) -> Path:
    """The folder with the files of an archive."""
    place = KEPT / "files" / Path(archive).stem
    if not place.exists():
        with ZipFile(DATA / archive) as file:
            file.extractall(place)
    inner = [path for path in place.iterdir() if path.is_dir()]
    return (inner[0] if len(inner) == 1 else place).absolute()


def _photos(archive: str, size: int, shots: int = 1, queries: int = 5) -> RunConfig:
    tasks = sources.part("folder", root=str(_files(archive)), size=size, rotate=10.0, scale=0.1, translate=0.05)
    return replace(recipes["photos"]().with_tasks(tasks), shots=shots, queries=queries)


def _text(name: str) -> RunConfig:
    tasks = sources.part("text", path=str(DATA / f"text/{name}/train.csv"), vocabulary=300, length=160)
    return recipes["text"]().with_tasks(tasks)


def _words() -> RunConfig:
    config = recipes["audio"]()
    options = config.tasks.options | {"root": str(_files("speech/speech_commands_300.zip")), "rate": 8000}
    return replace(config, tasks=sources.part("audio", **options))


SOURCES: dict[str, Callable[[], RunConfig]] = {
    "emoji": lambda: _photos("domains/emoji.zip", 48, queries=4),
    "tiny ImageNet": lambda: _photos("domains/tiny_imagenet_30.zip", 64, shots=5),
    "traffic signs": lambda: _photos("domains/traffic_signs.zip", 32),
    "HWU64": lambda: _text("hwu64"),
    "CLINC150": lambda: _text("clinc150"),
    "spoken words": _words,
}


def chosen(config: RunConfig, folder: Path) -> Run:
    return choosing.choose(config, minutes=MINUTES, out=folder, workers=processes(), seed=SEED).run


def by_chance(config: RunConfig, folder: Path) -> Run:
    return choosing.choose(config, minutes=MINUTES, out=folder, workers=processes(), strategy="random", seed=SEED).run


def recipe(config: RunConfig, folder: Path) -> Run:
    """The recipe, with as many steps as fit into the minutes."""
    asked = Attempt(config.settled().to_json(), str(folder.absolute()), 60 * MINUTES, TASKS, validations=VALIDATIONS)
    attempt(asked)
    return Run(folder)


WAYS: dict[str, Callable[[RunConfig, Path], Run]] = {"chosen": chosen, "recipe": recipe, "random": by_chance}


def one(name: str, way: str) -> None:
    torch.set_num_threads(processes())
    path = KEPT / f"{name} {way}.json"
    if path.exists():
        return
    config = replace(SOURCES[name](), device="cpu", seed=SEED, compile="off")
    with TemporaryDirectory() as place:
        run = WAYS[way](config, Path(place, "run"))
        told = run.evaluate(episodes=EPISODES, seed=SEED + 1, compare_supports=False)
        what = {key: run.config.to_json()[key] for key in ("learner", "model", "lr", "train_ways")}
        found: dict[str, Any] = {"mean": told.mean, "ci95": told.ci95, "episodes": EPISODES, "values": told.values}
        facts = {
            "minutes": MINUTES,
            "commit": commit(),
            "machine": machine(resolve_device("cpu")),
            "seed": SEED,
            "cores": processes(),
        }
        write_json(path, {**found, **facts, "trained": what})
        print(name, way, f"{100 * told.mean:.1f} ± {100 * told.ci95:.1f}", what, flush=True)


def collect() -> dict[str, Any]:
    rows = {}
    for name in SOURCES:
        there = {way: read_json(path) for way in WAYS if (path := KEPT / f"{name} {way}.json").exists()}
        if there:
            rows[name] = there
    return rows


def choose() -> None:
    for name in SOURCES:
        for way in WAYS:
            one(name, way)
    store("chosen", {"found": collect()})


if __name__ == "__main__":
    if sys.argv[1] == "store":
        store("chosen", {"found": collect()})
    else:
        for given in sys.argv[2:] or WAYS:
            one(sys.argv[1], given)

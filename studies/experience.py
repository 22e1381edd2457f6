"""The experience that the package carries: what learners, networks and numbers reach on tasks of several kinds.

`python -m studies.experience [KIND …]` tries the same points of a kind's space on each of its sources, all for as many
seconds as a search of twenty minutes gives a trial at first, and writes the files that `quickstudy choose` begins from.
What is tried is kept, so a stopped study goes on. Nothing is tried on what choosing is measured on.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from quickstudy import choosing
from quickstudy.choosing.experience import SHIPPED, features
from quickstudy.choosing.trial import Attempt, attempt
from quickstudy.errors import QuickstudyError
from quickstudy.registry import Part, learners, models, recipes, sources
from quickstudy.select.warm import Experience
from quickstudy.space import Space, Values, key
from quickstudy.storage.json import read_json, write_json
from quickstudy.training.config import RunConfig
from studies.common import RESULTS, store

KEPT = Path("runs/experience")
SECONDS, TASKS, SEED = 30.0, 96, 0
DATA = Path(os.environ.get("QUICKSTUDY_DATA", "."))


@dataclass(frozen=True)
class Kind:
    """Sources whose tasks can be learned in the same ways. each: points for every learner."""

    sources: dict[str, RunConfig]
    each: int = 2


def _with(recipe: str, tasks: Part[Any], **changes: Any) -> RunConfig:
    return replace(recipes[recipe]().with_tasks(tasks), device="cpu", compile="off", seed=SEED, **changes)


def kinds() -> dict[str, Kind]:
    drawn: dict[str, Any] = {"rotate": 10.0, "scale": 0.1, "translate": 0.05}
    regression: dict[str, Any] = {
        "learner": learners.part("maml", lr=0.01, steps=5), "model": models.part("mlp"), "shots": 10, "queries": 10,
        "meta_batch": 16, "clip": 10.0,
    }  # fmt: skip
    banking = str(DATA / "text/banking77/train.csv")
    return {
        "pictures": Kind(
            {
                "omniglot": _with("photos", sources.part("omniglot", root=str(DATA / "omniglot"), **drawn), shots=1),
                "icons": _with("photos", sources.part("folder", root=str(_unpacked("icons")), size=32, **drawn)),
                "glyphs": _with("photos", sources.part("glyphs", **drawn), shots=1),
            }
        ),
        "texts": Kind(
            {
                "banking77": _with(
                    "text",
                    sources.part("text", path=banking, vocabulary=300, length=160),
                )
            },
            each=3,
        ),
        "numbers": Kind(
            {
                "sinusoids": _with("sinusoid-maml", sources.part("sinusoid"), **regression),
                "functions": _with("sinusoid-maml", sources.part("gp"), **regression),
            }
        ),
        "series": Kind(
            {kind: _with("forecast", sources.part("series", kind=kind)) for kind in ("lines", "sines", "ar")}
        ),
        "tables": Kind({"made-up tables": _with("rows", sources.part("mixed_tables"), ways=3)}),
    }


def _unpacked(name: str) -> Path:
    """The folder with the files of an archive of classes."""
    place = KEPT / "files" / name
    if not place.exists():
        import zipfile

        with zipfile.ZipFile(DATA / "domains" / f"{name}.zip") as file:
            file.extractall(place)
    inner = [path for path in place.iterdir() if path.is_dir()]
    return (inner[0] if len(inner) == 1 else place).absolute()


def points(space: Space, each: int) -> list[Values]:
    """So many points for every learner, by a fixed seed."""
    rng = np.random.default_rng(SEED)
    found: list[Values] = []
    for learner in space.axes["learner"].all():
        mine = [space.settled({**point, "learner": learner}) for point in space.draw(each, rng)]
        found += [point for point in mine if key(point) not in set(map(key, found))]
    return found


def tried(kind: str, name: str, config: RunConfig, each: int, whole: Space) -> dict[str, Any]:
    """What each point reached on one source; taken from what is kept where it was tried before."""
    path = KEPT / f"{kind} {name}.json"
    source = config.tasks.build()
    menu = choosing.menu(config.settled(), source)
    found: dict[str, Any] = {"features": features(source.sampled(config.sampling)), "points": {}}
    found = read_json(path) if path.exists() else found
    higher = source.spec.target.metric.higher_is_better
    for point in points(whole, each):
        own = {name: value for name, value in point.items() if name in menu.space.axes}
        if key(point) in found["points"] or not all(menu.space.axes[n].holds(v) for n, v in own.items()):
            continue
        with TemporaryDirectory() as place:
            asked = Attempt(replace(menu.config(own), name="trial").to_json(), f"{place}/run", SECONDS, TASKS)
            try:
                mean, words = attempt(asked, source)["mean"], ""
            except QuickstudyError as error:
                mean, words = float("nan"), str(error)
        loss = None if not np.isfinite(mean) else -mean if higher else mean
        found["points"][key(point)] = {"point": point, "loss": loss, "error": words}
        print(f"{kind}, {name}: {choosing.told(point)}: {loss} {words}", flush=True)
        write_json(path, found)
    return found


def experience(*names: str) -> None:
    """All kinds, or those that are named."""
    torch.set_num_threads(1)
    place = Path(choosing.__file__).parent / SHIPPED
    place.mkdir(exist_ok=True)
    before = RESULTS / "experience.json"
    told: dict[str, Any] = read_json(before)["found"] if names and before.exists() else {}
    for kind, one in kinds().items():
        if names and kind not in names:
            continue
        whole = widest([choosing.menu(c.settled(), c.tasks.build()).space for c in one.sources.values()])
        past = Experience(whole)
        for name, config in one.sources.items():
            found = tried(kind, name, config, one.each, whole)
            there = list(found["points"].values())
            told.setdefault(kind, {})[name] = {"points": there, "metric": config.tasks.build().spec.target.metric.name}
            past = past.task(name, [p["point"] for p in there], [p["loss"] for p in there], found["features"])
        past.save(place / f"{kind}.jsonl")
        print(f"{kind}: {past.told()}", flush=True)
    store("experience", {"seconds": SECONDS, "tasks": TASKS, "found": told})


def widest(spaces: list[Space]) -> Space:
    """The space with the most to choose among; all others must lie within it."""
    return max(spaces, key=lambda space: (len(space.axes["learner"].all()), len(space.axes)))


if __name__ == "__main__":
    experience(*sys.argv[1:])

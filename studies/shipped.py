"""The models in the package: what they reach, and the card of each, in which every figure is one that was measured.

`python -m studies.shipped RUN …` puts runs of the recipes `handwriting`, `tables` and `tables-numbers` into the package
and measures them; without any, what lies there is measured anew. The tables' figures are those of the study `mixed`;
that what is in the package gives the same answers is looked at on a few splits of it.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import quickstudy as qs
from quickstudy.episode import Episode
from quickstudy.registry import formats, sources
from quickstudy.runs.card import write_card
from quickstudy.runs.run import Run
from quickstudy.runs.sharing import TENSORS, card_of
from quickstudy.shipped.places import CLASSES, MODELS, NUMBERS
from quickstudy.storage.json import read_json
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool
from studies.common import RESULTS, interval, store
from studies.table_sets import SETS
from studies.tables import SPLITS_KEPT, in_context, score, split_of

TASKS, QUERIES, AT_ONCE, ENCODED = 1000, 5, 20, 500
CHECKED = {"wine": 3, "iris": 3, "diabetes": 3, "pigs": 3}
"""Splits of the study `mixed` that are answered again, of each set."""
OMNIGLOT = {"name": "Omniglot, the 25 background alphabets of 30 that are not held out", "licence": "MIT",
            "source": "https://github.com/brendenlake/omniglot"}  # fmt: skip
SIZES = {"20-way 1-shot": (20, 1), "20-way 5-shot": (20, 5), "5-way 1-shot": (5, 1), "5-way 5-shot": (5, 5)}
_SIZES = (
    "It was trained on tables of up to 16 columns and 96 rows. It takes more of both, but reads all rows at once, in "
    "time and memory that grow with the square of their number.",
)
_MEANING = "What columns are called says nothing to it, and words in cells are names of categories."
ABOUT: dict[str, dict[str, Any]] = {
    "handwriting": {
        "name": "handwriting",
        "summary": "Classes of characters, symbols and small drawings, from a few drawings of each",
        "licence": "MIT",
        "data": [OMNIGLOT, {"name": "glyphs, procedural characters of this package", "licence": "MIT"}],
        "limits": [
            "A drawing is cut to its ink and brought to one size: what differs only in size or place on the canvas, "
            "as o and O do, looks alike.",
            "Ink is what differs from the colour of most of the border. Ruled paper, photographs of paper with shadows "
            "and pictures that fill the canvas are no such drawings.",
            "It sees 28 x 28 pixels, which hold one character or a simple drawing, and no line of text.",
            "It names one of its classes, whatever is drawn.",
        ],
    },
    CLASSES: {
        "name": CLASSES,
        "summary": "Classes from rows of a table: numbers, categories, dates, gaps; up to 10 classes",
        "licence": "MIT",
        "data": [{"name": "made-up tables of this package alone", "licence": "MIT"}],
        "limits": [
            *_SIZES,
            "Up to 10 classes.",
            _MEANING,
        ],
    },
    NUMBERS: {
        "name": NUMBERS,
        "summary": "Numbers from rows of a table, with how sure they are",
        "licence": "MIT",
        "data": [{"name": "made-up tables of this package alone", "licence": "MIT"}],
        "limits": [
            *_SIZES,
            _MEANING,
        ],
    },
}  # fmt: skip


def figure(what: str, values: list[float], metric: str, of: str = "") -> dict[str, Any]:
    """A figure of a card. of: who reaches it, if that is not the model."""
    return {"what": what, "metric": metric, "percent": True, **interval(values), **({"of": of} if of else {})}


def nearest(episodes: Episode) -> Tensor:
    """Accuracy in each task of the class whose mean is nearest, (T,)."""
    support, query = episodes.support, episodes.query
    assert isinstance(support.x, Tensor) and isinstance(query.x, Tensor)
    x, asked = support.x.flatten(2), query.x.flatten(2)
    member = F.one_hot(support.y).to(x.dtype)
    means = torch.einsum("tsn,tsd->tnd", member, x) / member.sum(1)[..., None]
    return (torch.cdist(asked, means).argmin(-1) == query.y).float().mean(1)


def embedded(run: Run, source: ClassSource) -> ClassSource:
    """The test tasks of a source with what the run's network makes of each drawing, once, in the place of it."""
    pool, format = source.pool, source.spec.format
    assert isinstance(pool, TensorPool) and isinstance(pool.x, Tensor)
    network, parts = run.module(), []
    with torch.no_grad():
        for part in pool.x.split(ENCODED):  # type: ignore[no-untyped-call]
            parts.append(network(format.features(part)).flatten(1))
    z = torch.cat(parts)
    return replace(source, pool=replace(pool, x=z, format=formats.make("array", shape=tuple(z.shape[1:]))))


def of_tasks(source: Source) -> list[float]:
    """What the nearest mean gets in test tasks of a source."""
    parts = torch.arange(TASKS).split(AT_ONCE)  # type: ignore[no-untyped-call]
    return [value for part in parts for value in nearest(source.episodes("test", part)).tolist()]


def on_tasks(run: Run, source: ClassSource, name: str, sizes: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """The run, and raw pixels, on the test tasks of a source."""
    found, features = [], embedded(run, source)
    for size, (ways, shots) in sizes.items():
        sampling = qs.Sampling(ways, shots, QUERIES)
        values = of_tasks(features.sampled(sampling))
        tasks = source.sampled(sampling)
        engine = qs.Engine(run.learner.at(tasks.spec), torch.device("cpu"))
        same = qs.evaluate(engine, run.params, tasks, "test", AT_ONCE, compare_supports=False).values
        assert max(abs(one - other) for one, other in zip(values, same, strict=False)) <= 1.5 / (ways * QUERIES), same
        found += [
            figure(f"{name}, {size}", values, "accuracy"),
            figure(f"{name}, {size}", of_tasks(tasks), "accuracy", "nearest mean of pixels"),
        ]
        print(found[-2:], flush=True)
    return found


def handwriting(run: Run) -> list[dict[str, Any]]:
    """On alphabets that were never seen, and on icons, which are no handwriting."""
    options = {"split": "lake", "evaluation": "all", "ink": True}
    alphabets = sources.part("omniglot", **options).build()
    figures = on_tasks(run, alphabets, "Omniglot's 20 evaluation alphabets", SIZES)
    with tempfile.TemporaryDirectory() as place:
        with zipfile.ZipFile(Path(os.environ["QUICKSTUDY_DATA"]) / "domains" / "icons.zip") as file:
            file.extractall(place)
        root = next(path for path in (Path(place) / "icons", Path(place)) if path.is_dir())
        icons = sources.part("folder", root=str(root), size=32, channels=1).build()
        source = icons.seen_as(formats.make("ink", size=28)).only_for("test")
        return figures + on_tasks(run, source, "icons (out of domain)", {"5-way 5-shot": (5, 5)})


def of_tables(classes: bool) -> list[dict[str, Any]]:
    """The figures of the study `mixed`."""
    known = read_json(RESULTS / "mixed.json")
    means = known["mean"]["classes" if classes else "numbers"]
    count = sum(row["classes"] == classes for row in known["rows"].values())
    what = f"{count} real tables, {known['rows each']} rows each, {known['splits']} splits"
    metric = "accuracy" if classes else "R²"
    return [
        {"what": what, "metric": metric, "percent": classes, **mean} | ({} if who == "in context" else {"of": who})
        for who, mean in means.items()
    ]


def checked(run: Run, classes: bool) -> dict[str, float]:
    """The largest difference between what the run gets in splits of the study `mixed` and what is stored of it."""
    known, found = read_json(SPLITS_KEPT)["figures"], {}
    for name, splits in CHECKED.items():
        kind = SETS[name]
        if kind.classes != classes:
            continue
        columns, answers = kind.rows()
        worst = 0.0
        for number in range(splits):
            seen, rest = split_of(len(answers), number, answers, classes)
            said = in_context(run, columns.iloc[seen].reset_index(drop=True), [answers[i] for i in seen],
                              columns.iloc[rest].reset_index(drop=True), kind)  # fmt: skip
            got = score(said, [answers[i] for i in rest], classes)
            worst = max(worst, abs(got - known[name]["in context"][number]))
        found[name] = worst
        assert worst < 1e-4, f"{run.folder} is not the network of the study: {name} differs by {worst}."
    return found


def take(run: Run, name: str) -> Run:
    """What a folder of the package holds, made of a run."""
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    run.save_pretrained(folder, **ABOUT[name])
    return Run(folder, device="cpu")


def shipped(*trained: str) -> None:
    """Measure all, and write their cards and studies/results/shipped.json. trained: folders of runs to be taken."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    taken = {run.config.name: run for run in (Run(folder, device="cpu") for folder in trained)}
    found: dict[str, Any] = {}
    for name in ABOUT:
        recipe = "tables" if name == CLASSES else name
        run = take(taken[recipe], name) if recipe in taken else Run(MODELS / name, device="cpu")
        more: dict[str, Any] = {}
        if name == "handwriting":
            figures = handwriting(run)
        else:
            figures = of_tables(name == CLASSES)
            more["largest difference from the study"] = checked(run, name == CLASSES)
        card = card_of(run, ABOUT[name] | {"figures": figures})
        card["takes"], card["answers"] = TAKES[name]
        write_card(run.folder, card)
        size = (run.folder / TENSORS).stat().st_size
        found[name] = {"bytes": size, "figures": figures, "training": card["training"], **more}
    store("shipped", {"models": found})


TAKES = {
    "handwriting": ("drawings: image files of any size, dark on light or light on dark", "names of classes"),
    CLASSES: ("rows of a table: CSV, TSV, Parquet, data frames", "names of classes"),
    NUMBERS: ("rows of a table: CSV, TSV, Parquet, data frames", "numbers with a spread"),
}

if __name__ == "__main__":
    shipped(*sys.argv[1:])

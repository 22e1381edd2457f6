"""`quickstudy adapt RUN --support PLACE`: learn a new task from a few examples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from quickstudy.cli.parse import learned, next_predict, open_run, parse, support_set
from quickstudy.formats.records import Broken
from quickstudy.storage.folders import refuse_occupied
from quickstudy.terminal import tell


@dataclass
class Adapt:
    """Learn a new task from a few examples, and save the model that knows it."""

    run: tyro.conf.Positional[str]
    """A run: its folder, or its name under runs/."""
    support: Path
    """The examples, as the run's format has them: a folder with one sub-folder of files for each class, whose name is
    the class; a file of rows with their labels (CSV, TSV, Parquet); or a CSV file of the seen values of a series."""
    out: Path
    """Folder to write the adapted model to."""
    task: str | None = None
    """Which task, where the file holds several: the name of a series, or of a group of rows."""
    target: str | None = None
    """The column of rows that holds what is to be told, if it is not called as where the run was trained."""
    exclude: tuple[str, ...] = ()
    """Columns of rows to leave out, such as an id."""
    categories: tuple[str, ...] = ()
    """Columns of rows whose cells are names of things though they look like numbers."""
    broken: Broken = "refuse"
    """What to do with a record that cannot be read: refuse all, or skip it."""
    device: str | None = None
    """Another device than the run's."""


def run(argv: Sequence[str]) -> int:
    options = parse(Adapt, "adapt", argv)
    refuse_occupied(options.out)
    done = open_run(options.run, options.device)
    said = {"label": options.target, "exclude": options.exclude, "categories": options.categories}
    columns = {name: value for name, value in said.items() if value}
    support = support_set(done.learner.spec.format.told(**columns), done.spec.target, options.support, options.task)
    began = time.perf_counter()
    model = done.adapt(support.items, support.labels, options.broken, **columns)
    took = time.perf_counter() - began
    model.save(options.out)
    tell(f"{learned(model)} in {1000 * took:.0f} ms: {options.out}")
    tell(next_predict(options.out, options.support, options.task))
    return 0

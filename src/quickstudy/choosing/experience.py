"""What other tasks of the kind have taught: shipped with the package, and kept of searches of one's own."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np

from quickstudy.errors import ConfigError
from quickstudy.select.warm import Experience
from quickstudy.select.warm.experience import PastTask
from quickstudy.space import Space
from quickstudy.tasks.base import Source

SHIPPED = "past"
NEAREST = 8
"""Past tasks that a search begins from; where there are more, those that are the least like its own are left out."""


def features(source: Source) -> dict[str, float]:
    """What is known of tasks before anything is trained: their size, and that of their examples."""
    size, layout = source.sampling, source.spec.format.layout.values()
    numbers = sum(math.prod(leaf.shape) for leaf in layout)
    classes = len(source.classes("train"))
    return {
        "ways": math.log2(size.ways),
        "shots": math.log2(max(size.shots, 1)),
        "classes": math.log2(classes) if classes else 12.0,  # made up without end
        "numbers": math.log2(max(numbers, 1)),
    }


def remembered(space: Space, own: Mapping[str, float], bank: Path | None, without: tuple[str, ...] = ()) -> Experience:
    """What was tried of this space on other tasks, of those the nearest; empty where there is nothing.

    own: features of the tasks at hand. bank: a folder of experience of one's own. without: past tasks, by name, that
    are not to be looked at.
    """
    found = Experience(space)
    with resources.as_file(resources.files(__package__) / SHIPPED) as shipped:
        for folder in (shipped, bank):
            for path in sorted(folder.glob("*.jsonl")) if folder is not None and folder.is_dir() else ():
                past = told_in(space, Experience.load(path).without(*without))
                found = Experience(space, found.tasks + past.tasks)
    return nearest(found, own, NEAREST)


def told_in(space: Space, past: Experience) -> Experience:
    """What past experience says of a space: of its points those that the space has, such as those of learners that can
    learn the tasks at hand."""
    found = Experience(space)
    if not set(space.axes) <= set(past.space.axes):
        return found
    for task in past.tasks:
        rows = [{name: point[name] for name in space.axes} for point in task.points]
        held = [i for i, row in enumerate(rows) if all(space.axes[name].holds(value) for name, value in row.items())]
        if held:
            found = found.task(task.name, [rows[i] for i in held], [task.told[i] for i in held], task.features)
    return found


def nearest(past: Experience, own: Mapping[str, float], count: int) -> Experience:
    """The past tasks whose features are the nearest to `own`, each in units of its deviation over all of them."""
    tasks = past.tasks
    if len(tasks) <= count:
        return past
    names = sorted(own)
    rows = np.array([[task.features.get(name, np.nan) for name in names] for task in tasks])
    spread = np.nanstd(rows, axis=0)
    apart = (rows - np.array([own[name] for name in names])) / np.where(spread > 0, spread, 1.0)
    order = np.argsort(np.nanmean(np.square(np.nan_to_num(apart, nan=1.0)), axis=1), kind="stable")[:count]
    return Experience(past.space, tuple(tasks[i] for i in sorted(order)))


def refuse_file(bank: Path) -> None:
    """ConfigError where a bank is no folder."""
    if bank.exists() and not bank.is_dir():
        raise ConfigError(f"The bank {bank} is a file, and must be a folder. Choose another.")


def keep(bank: Path, space: Space, task: PastTask) -> None:
    """Add what was tried to a bank, which is made if it is not there."""
    refuse_file(bank)
    if task.points:
        bank.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(json.dumps(space.to_json(), sort_keys=True).encode()).hexdigest()[:12]
        Experience.append(bank / f"{digest}.jsonl", space, task.name, task.points, task.told, task.features)

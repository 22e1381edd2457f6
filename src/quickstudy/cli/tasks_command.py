"""`quickstudy tasks RUN`: which training classes or domains help which held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
import tyro

from quickstudy.cli.parse import Places, open_run, parse, table, warn
from quickstudy.errors import first_of
from quickstudy.evaluation.influence import Influence, influence
from quickstudy.storage.json import write_json
from quickstudy.terminal import tell
from quickstudy.training.progress import Progress


@dataclass
class Tasks:
    """Take a small step on tasks of each training class or domain, and see what that does to held-out ones.

    It takes about as long as `draws` training steps of `episodes` tasks for each class or domain (320 of 16 tasks for
    40), and for each pair of one with a held-out one the evaluation of `episodes` tasks. Nothing is changed.
    """

    run: tyro.conf.Positional[str]
    """A run: its folder, or its name under runs/."""
    split: str = "val"
    """Which classes or domains are held out: val or test. What is chosen by test classes is not tested by them."""
    episodes: int = 16
    """Tasks of each class or domain in a step, and of each held-out one over all draws."""
    draws: int = 8
    """Steps from the same φ for each class or domain, on other tasks each; intervals are over them."""
    step: float = 0.01
    """Length of the step, as a share of the length of all that training moves."""
    most: int = 40
    """At most so many classes or domains on each side, at random."""
    device: str | None = None
    """Another device than the run's."""
    tasks: Places = field(default_factory=Places)
    """Where the tasks' files lie today."""


def run(argv: Sequence[str]) -> int:
    options = parse(Tasks, "tasks", argv)
    done = open_run(options.run, options.device, options.tasks)
    parts, most = done.parts, options.most
    with Progress(f"Steps on tasks of {done.config.name}", min(most, len(parts.training.arms("train")))) as progress:
        torch.manual_seed(0)
        found = influence(
            parts.training_engine, done.params, parts.training, (parts.source, options.split), options.episodes,
            options.draws, options.step, most, lambda count: progress.update(count, ""),
        )  # fmt: skip
    _show(found, options.split)
    facts = {"split": options.split, "step": options.step, "draws": options.draws, "hurting": found.hurting}
    write_json(done.folder / "tasks.json", facts | asdict(found))
    tell(f"All pairs: {done.folder / 'tasks.json'}")
    return 0


def _show(found: Influence, split: str) -> None:
    rows = []
    for name in sorted(found.train, key=lambda one: found.total[one].mean):
        pairs = sorted(found.held, key=lambda other: found.change[name][other].mean)
        rows.append([
            name, str(found.loss[name]), str(found.total[name]),
            *(f"{other} ({found.change[name][other].mean:+.4f})" for other in (pairs[0], pairs[-1])),
        ])  # fmt: skip
    title = f"Loss of {split} tasks after a step on training tasks of one class or domain, less the loss before"
    table(title, ["a step on", "its own loss", "change ± 95 % CI", "helps most", "helps least"], rows)
    count, of = len(found.hurting), len(found.train)
    tell(
        "The intervals of the change are over draws of training and held-out tasks, and hold for "
        f"{'all ' if of > 1 else ''}{of} at once (Bonferroni); pairs are not corrected."
    )
    if not count:
        tell(f"No class or domain raises the loss of {split} tasks beyond chance.")
        return
    warn(
        f"Steps on {count} of {of} raise the loss of {split} tasks beyond what the draw of tasks explains: "
        f"{first_of(found.hurting)}. That is one step from this φ, no training run: before you leave them out, train "
        "with and without them, over several seeds, and compare."
    )

"""`quickstudy partition RECIPE`: train a recipe apart on parts of its classes, and average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from quickstudy.averaging.rounds import Backend, Round
from quickstudy.averaging.runs import Divide, train_on_parts
from quickstudy.cli.parse import next_line, parse
from quickstudy.cli.settings import load_recipe
from quickstudy.terminal import tell
from quickstudy.training.progress import Progress


@dataclass
class Partition:
    """Train copies of a recipe's learner on parts of its classes, and average them, round after round, into a run."""

    recipe: tyro.conf.Positional[str]
    """A recipe; see `quickstudy list recipes`. Its own number of steps is not used."""
    out: Path
    """Folder of the run."""
    rounds: int = 10
    """How often the members are averaged; 1 averages once, at the end."""
    steps: int = 20
    """Outer steps of each member in a round; 1 is synchronous training."""
    divide: Divide = "groups"
    """Parts are whole groups of classes, such as alphabets, or classes dealt out alike."""
    parts: int = 10
    """How many parts, where classes are dealt out."""
    fraction: float = 1.0
    """Share of the parts that train in each round."""
    outer_lr: float = 1.0
    """How far to move towards the average."""
    backend: Backend = "processes"
    """Where members train: one after another, on threads or in processes of this machine, or on a Ray cluster."""
    workers: int | None = None
    """Members at once; as many as cores if not given."""
    device: str = "cpu"
    """Where members compute."""


def run(argv: Sequence[str]) -> int:
    options = parse(Partition, "partition", argv)
    config = replace(load_recipe(options.recipe), device=options.device, name=options.out.name)
    with Progress(f"Training {options.recipe} on parts", options.rounds) as progress:

        def told(turn: Round) -> None:
            lost = f", without {len(turn.lost)}" if turn.lost else ""
            progress.update(turn.number, f"{len(turn.members)} members{lost}")

        done = train_on_parts(
            config, options.out, rounds=options.rounds, steps=options.steps, divide=options.divide,
            parts=options.parts, fraction=options.fraction, outer_lr=options.outer_lr, backend=options.backend,
            workers=options.workers, progress=told,
        )  # fmt: skip
    tell(f"Validation {done.kept['validation']:.4f} ± {done.kept['validation_ci95']:.4f}: {options.out}")
    tell(next_line("evaluate", options.out))
    return 0

"""`quickstudy average RUN RUN …`: one run of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from quickstudy.averaging.runs import How, average_runs
from quickstudy.cli.parse import next_line, open_run, parse, table
from quickstudy.terminal import tell


@dataclass
class Average:
    """Average the models of several runs of one network into a new run, and show what that is worth on validation."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Runs: their folders, or their names under runs/."""
    out: Path
    """Folder of the new run."""
    how: How = "greedy"
    """A greedy soup, never worse on validation tasks than its best member, or the mean of all."""
    weights: tuple[float, ...] = ()
    """For the mean: a weight for each run."""
    even_if_worse: bool = False
    """Make an average that is worse than its best member on validation tasks, which is refused otherwise."""
    device: str | None = None
    """Another device than the runs'."""


def run(argv: Sequence[str]) -> int:
    options = parse(Average, "average", argv)
    runs = [open_run(name, options.device) for name in options.runs]
    averaged = average_runs(runs, options.out, options.how, options.weights or None, options.even_if_worse, quiet=False)
    if not averaged.unchecked:
        rows = [
            [name, f"{value:.4f}", "yes" if name in averaged.members else ""] for name, value in averaged.scores.items()
        ]
        last = [str(options.out), f"{averaged.score:.4f}", ""]
        table("On validation tasks", ["run", "value", "taken"], [*rows, last])
    if averaged.verdict is not None:
        given_up = f", so that {averaged.members[0]} alone was kept" if len(averaged.members) == 1 else ""
        tell(f"The average is {averaged.verdict}{given_up}.")
    elif len(averaged.members) == 1:
        tell(f"It is {averaged.members[0]} alone: no other run made it better.")
    if averaged.interpolation is not None:
        tell("Loss on the line between the two best runs:", *str(averaged.interpolation).split("\n"))
    tell(next_line("evaluate", options.out))
    return 0

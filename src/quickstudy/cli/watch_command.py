"""`quickstudy watch RUN`: an agent in one environment, before and after it has learned, as an animated picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from quickstudy.cli.parse import open_run, parse
from quickstudy.errors import ConfigError
from quickstudy.rl.agents.base import Agent
from quickstudy.rl.watching import before_and_after, returns, source_of, write_gif
from quickstudy.terminal import tell


@dataclass
class Watch:
    """Draw what an agent does in a task that it has never met, beside itself without memory or inner steps."""

    run: tyro.conf.Positional[str]
    """A run of an agent: its folder, or its name under runs/."""
    out: Path = Path("watch.gif")
    """The animated GIF to write."""
    task: int = 0
    """Which of the split's tasks."""
    split: str = "test"
    """Which tasks: train, val or test."""


def run(argv: Sequence[str]) -> int:
    options = parse(Watch, "watch", argv)
    if options.out.suffix.lower() != ".gif":
        raise ConfigError(f"What is written is an animated GIF, found --out {options.out}. Let its name end in .gif.")
    if options.task < 0:
        raise ConfigError(f"Tasks are counted from 0, found --task {options.task}.")
    done = open_run(options.run, None)
    learner = done.learner.evaluated()
    if not isinstance(learner, Agent):
        raise ConfigError(
            f"There is nothing to watch: {type(learner).__name__} answers and does not act. See quickstudy report."
        )
    reels = before_and_after(source_of(done.parts.source), learner, done.params, options.split, options.task)
    write_gif(reels, options.out)
    for name, reel in reels.items():
        tell(f"{name}: returns {', '.join(f'{one:.2f}' for one in returns(reel))}")
    tell(f"Wrote {options.out}")
    return 0

"""`quickstudy watch RUN`: an agent in one environment, before and after it has learned, as a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from quickstudy.cli.parse import open_run, parse
from quickstudy.errors import ConfigError
from quickstudy.rl.agents.base import Agent
from quickstudy.rl.film import MOST, longest, require_writable, returns, write
from quickstudy.rl.watching import source_of
from quickstudy.terminal import tell


@dataclass
class Watch:
    """Film what an agent does in a task that it has never met, beside itself without memory or inner steps."""

    run: tyro.conf.Positional[str]
    """A run of an agent: its folder, or its name under runs/."""
    out: Path = Path("watch.gif")
    """The film to write: an animated GIF, or MP4 where its name ends in .mp4 (extra video)."""
    task: int = 0
    """Which of the split's tasks."""
    split: str = "test"
    """Which tasks: train, val or test."""
    frames: int = MOST
    """The most steps that are drawn; a longer film is cut there, which is said."""


def run(argv: Sequence[str]) -> int:
    options = parse(Watch, "watch", argv)
    require_writable(options.out)
    if options.task < 0 or options.frames < 1:
        raise ConfigError(
            f"Tasks are counted from 0, and a film has 1 frame or more, found --task {options.task} and --frames "
            f"{options.frames}. Raise it."
        )
    done = open_run(options.run, None)
    learner = done.learner.evaluated()
    if not isinstance(learner, Agent):
        raise ConfigError(
            f"There is nothing to watch: {type(learner).__name__} answers and does not act. See quickstudy report."
        )
    reels = source_of(done.parts.source).under(learner, done.params).reels(options.split, options.task)
    write(reels, options.out, options.frames)
    for name, reel in reels.items():
        tell(f"{name}: returns {', '.join(f'{one:.2f}' for one in returns(reel))}")
    steps = longest(reels)
    cut = f": the first {options.frames:,} of {steps:,} steps (--frames)" if steps > options.frames else ""
    tell(f"Wrote {options.out}{cut}")
    return 0

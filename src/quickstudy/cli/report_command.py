"""`quickstudy report RUN`: the report page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import tyro

import quickstudy as qs
from quickstudy.cli.parse import Places, open_run, parse, warn
from quickstudy.errors import ConfigError
from quickstudy.shipped.places import MODELS
from quickstudy.storage.json import read_json
from quickstudy.terminal import tell


@dataclass
class Report:
    """Write report.html into the folder of a run: learning curve, drawn episodes, accuracy by shots, confusions."""

    run: tyro.conf.Positional[str]
    """A run: its folder, or its name under runs/."""
    episodes: int | None = None
    """Unseen tasks behind the headline figure; 600 if not given, or as many as a minute allows."""
    tasks: Places = field(default_factory=Places)
    """Where the tasks' files lie today."""
    device: str | None = None
    """Another device than the run's."""


def run(argv: Sequence[str]) -> int:
    options = parse(Report, "report", argv)
    done = open_run(options.run, options.device, options.tasks)
    if done.folder.is_relative_to(MODELS):
        raise ConfigError(
            f"{options.run} comes with the package, where no report is written. Copy it: quickstudy.pretrained("
            f"{options.run!r}).save_pretrained(FOLDER), and report on the folder."
        )
    tell(f"Report: {qs.report(done, episodes=options.episodes, quiet=False)}")
    warn(read_json(done.folder / "report.json")["warning"])
    return 0

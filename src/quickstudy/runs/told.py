"""What a run is, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from quickstudy.spec import TaskSpec
from quickstudy.training.config import RunConfig
from quickstudy.training.progress import duration


class Trained(Protocol):
    """What is told of a `Run`."""

    folder: Path
    config: RunConfig

    @property
    def kept(self) -> dict[str, Any]: ...

    @property
    def spec(self) -> TaskSpec: ...

    @property
    def seconds(self) -> float | None: ...


def told(run: Trained, kept: bool) -> list[tuple[str, str]]:
    """Lines of a name and what it is. kept: whether the run has been validated, and so keeps a model."""
    config, folder = run.config, ("folder", str(run.folder))
    shots = f"{config.shots} shot{'' if config.shots == 1 else 's'}"
    learner = ("learner", f"{config.learner.name}, network {config.model.name}")
    if not kept:
        tasks = ("tasks", f"{config.tasks.name}, {config.ways} ways, {shots}")
        return [learner, tasks, ("kept", "nothing yet: it was stopped before its first validation"), folder]
    facts, metric = run.kept, run.spec.target.metric
    where = "on validation tasks" if facts.get("held_out", True) else "on tasks of training classes"
    known = facts["validation"] == facts["validation"]
    value = metric.interval(facts["validation"], facts["validation_ci95"])
    return [
        learner,
        ("tasks", f"{config.tasks.name}: {run.spec}; {shots}"),
        ("validation", f"{metric.words} {value} {where}" if known else "none"),
        ("kept", f"step {facts['step']:,} of {config.iterations:,}"),
        *([("trained for", duration(run.seconds))] if run.seconds is not None else []),
        folder,
    ]

"""What a run is, for people."""

from __future__ import annotations

from quickstudy.runs.kept import is_kept
from quickstudy.runs.trained import Trained
from quickstudy.training.progress import duration


def told(run: Trained) -> list[tuple[str, str]]:
    """Lines of a name and what it is."""
    config, folder = run.config, ("folder", str(run.folder))
    shots = f"{config.shots} shot{'' if config.shots == 1 else 's'}"
    learner = ("learner", f"{config.learner.name}, network {config.model.name}")
    if not is_kept(run.folder):
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

"""The official one-shot classification runs of Omniglot (Lake et al. 2015)."""

from __future__ import annotations

from pathlib import Path

from quickstudy.episode import map_episode
from quickstudy.errors import DataError, ShapeError
from quickstudy.evaluation.evaluate import metrics_of, result_of_values
from quickstudy.evaluation.result import Result
from quickstudy.runs.run import Run
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.oneshot_runs import oneshot_runs


def official_runs(run: Run, path: str | Path) -> tuple[list[str], Result]:
    """The names of the runs in the zip at `path`, and the accuracy over them; error rates are 1 − its values."""
    format = run.learner.spec.format
    try:
        runs = oneshot_runs(path, format)
    except ShapeError as error:
        raise DataError(
            f"The runs in {path} are images, but the run {run.folder} was trained on {format}. Choose one that was "
            "trained on images."
        ) from error
    episodes = map_episode(lambda t: t.to(run.parts.engine.device), runs.episodes)
    size = Sampling(ways=episodes.support.y.shape[1], shots=1, queries=1)
    _, engine = run.sampled(size)
    values = metrics_of(engine, run.params, episodes)[run.learner.spec.target.metric.name]
    return list(runs.names), result_of_values(engine, values, size, "official runs", 0)

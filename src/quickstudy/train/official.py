"""The official one-shot classification runs of Omniglot (Lake et al. 2015)."""

from __future__ import annotations

from pathlib import Path

from quickstudy.engine.vectorize import tasks_of
from quickstudy.episode import map_episode
from quickstudy.errors import DataError
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.oneshot_runs import oneshot_runs
from quickstudy.train.run import Run


def official_runs(run: Run, path: str | Path) -> dict[str, float]:
    """The error rate of each run in the zip at `path`, by the run's name."""
    image = run.parts.source.spec.image
    if image is None:
        raise DataError(f"The run {run.folder} was not trained on images, so it cannot read the runs in {path}.")
    runs = oneshot_runs(path, image)
    episodes = map_episode(lambda t: t.to(run.parts.engine.device), runs.episodes)
    ways = episodes.support.y.shape[1]
    _, engine = run.sampled(Sampling(ways=ways, shots=1, queries=1))
    predicted = engine.predictions(run.params, episodes).argmax(dim=-1)
    wrong = [float((p != e.query.y).float().mean()) for p, e in zip(predicted, tasks_of(episodes), strict=True)]
    return dict(zip(runs.names, wrong, strict=True))

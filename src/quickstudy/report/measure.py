"""Every number of a report, measured on unseen tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.episode import Episode, Examples, Features, leaves, map_episode, map_features
from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.calibration import distributions
from quickstudy.evaluation.estimate import Estimate
from quickstudy.evaluation.evaluate import baseline_of
from quickstudy.evaluation.result import Result
from quickstudy.learners import IterativeLearner
from quickstudy.pages.pictures import letter
from quickstudy.runs.run import Run
from quickstudy.spec import TaskSpec
from quickstudy.targets.distribution import Distribution
from quickstudy.tasks.base import Sampling

SPLIT = "test"
SHOTS, WAYS, STEPS = (1, 2, 3, 5, 10), (2, 5, 10, 20), (0, 1, 5, 10)
LARGEST_TASK = 26
_CURVE_QUERIES = 10
_CHUNK = 16  # tasks drawn at once


def possible(run: Run, ways: int, shots: int, queries: int) -> bool:
    """Whether the tasks come in this size, the test data can give it, and the learner can do it."""
    try:
        source = run.parts.source.sampled(Sampling(ways, shots, queries))
        source.check(SPLIT)
        run.parts.engine.learner.at(source.spec)
    except (DataError, ConfigError):
        return False
    return True


def chooses_ways(run: Run) -> bool:
    """Whether tasks of another number of classes can be asked for."""
    source, ways = run.parts.source, run.config.ways + 1
    try:
        return source.sampled(replace(run.config.sampling, ways=ways)).sampling.ways == ways
    except (DataError, ConfigError):
        return False


def by_shots(run: Run, episodes: int) -> list[Result]:
    """The metric against the number of support examples: of each class, or of the whole task where that is counted."""
    config, queries = run.config, min(run.config.queries, _CURVE_QUERIES)
    each = 1 if run.parts.source.balanced else max(1, run.parts.source.spec.ways)
    return [
        _measured(run, episodes, shots=shots, queries=queries)
        for shots in sorted({*(each * shots for shots in SHOTS), config.shots})
        if possible(run, config.ways, shots, queries)
    ]


def by_ways(run: Run, episodes: int) -> list[Result]:
    """The metric against the number of classes; nothing where the source or the learner cannot change it."""
    config, queries = run.config, min(run.config.queries, 5)
    sizes = [n for n in sorted({*WAYS, config.ways}) if possible(run, n, config.shots, queries)]
    if len(sizes) < 2 or not chooses_ways(run):
        return []
    return [_measured(run, _fewer(episodes, n), ways=n, queries=queries) for n in sizes]


def _fewer(episodes: int, ways: int) -> int:
    """Large tasks hold more queries each: fewer of them give the same certainty."""
    return max(10, episodes // 2) if ways > 5 else episodes


def by_steps(run: Run, episodes: int) -> list[Result]:
    """The metric after several numbers of inner steps; nothing for learners without inner steps."""
    learner = run.parts.engine.learner.evaluated()
    if not isinstance(learner, IterativeLearner):
        return []
    most = learner.steps if learner.network.norm == "per_step" else max(*STEPS, learner.steps)
    return [_measured(run, episodes, steps=s) for s in sorted({*STEPS, learner.steps}) if s <= most]


def _measured(run: Run, episodes: int, **size: Any) -> Result:
    """The result with its baseline, over the same tasks."""
    result = run.evaluate(episodes=episodes, compare_supports=False, **size)
    source, engine = run.sampled(Sampling(size.get("ways", run.config.ways), result.shots, result.queries))
    chunks = torch.split(torch.arange(episodes, device=engine.device), _CHUNK)
    values = torch.cat([baseline_of(engine, source.episodes(SPLIT, chunk)).cpu() for chunk in chunks])
    return replace(result, baseline=Estimate.of(values))


@dataclass(frozen=True)
class Drawn:
    """One task with its predictions, on the CPU and without padding.

    index: of the task. names: of its classes, or letters. output: raw predictions of the queries (n, …). spread: of
    each, where the learner says how sure it is.
    """

    index: int
    episode: Episode
    spec: TaskSpec
    names: list[str]
    output: Tensor
    spread: Tensor | None = None

    @property
    def predicted(self) -> list[int]:
        """The class that each query was taken for; only where labels are classes."""
        chosen = self.spec.target.chosen(self.output)
        return [] if chosen is None else chosen.tolist()

    @property
    def truth(self) -> list[int]:
        """The class of each query; only where labels are classes."""
        return [int(i) for i in self.episode.query.y]

    @property
    def value(self) -> float:
        """The headline of this task."""
        return float(self.spec.target.score(self.output, self.episode.query))

    @property
    def told(self) -> str:
        """The headline of this task for people."""
        return self.spec.target.metric.of_one(self.value)


def draw(run: Run, indices: Iterable[int], sampling: Sampling) -> list[Drawn]:
    """Test tasks `indices` of this size, with the run's predictions."""
    source, engine = run.sampled(sampling)
    drawn = []
    for index in indices:
        batch = source.episodes(SPLIT, torch.tensor([index], device=engine.device))
        output, spread = _said(engine, run, batch)
        one = map_episode(lambda t: t[0].cpu(), batch)
        asked, names = one.query.mask, source.class_names(SPLIT, index) or list(map(letter, range(source.spec.ways)))
        episode = Episode(_real(one.support), _real(one.query))
        sure = None if spread is None else spread[asked]
        drawn.append(Drawn(index, episode, source.spec, names, output[asked], sure))
    return drawn


def _real(examples: Examples) -> Examples:
    """Without padding."""
    mask = examples.mask
    return Examples(map_features(lambda t: t[mask], examples.x), examples.y[mask], mask[mask])


def _said(engine: Engine, run: Run, batch: Episode) -> tuple[Tensor, Tensor | None]:
    """Predictions of one task, and their spreads where the learner says how sure it is."""
    known = distributions(engine, run.params, batch)
    return engine.predictions(run.params, batch)[0].float().cpu(), None if known is None else known[1][0].float().cpu()


def answers(run: Run, task: Drawn, x: Features, steps: int | None = None) -> Distribution:
    """What is said of inputs x (n, …) of a task after `steps` inner steps (None: the learner's): mean and spread."""
    _, engine = run.sampled(run.config.sampling, steps)
    engine = replace(engine, learner=engine.learner.at(task.spec))
    count, label = len(leaves(x)[0]), task.episode.query.y[:1]
    query = Examples(x, label.expand(count, *label.shape[1:]), torch.ones(count, dtype=torch.bool))
    batch = map_episode(lambda t: t[None].to(engine.device), Episode(task.episode.support, query))
    return Distribution(*_said(engine, run, batch))


def largest_task(run: Run) -> Drawn | None:
    """One task of as many classes as the data allows (at most 26), one example of each; None below 3 classes."""
    if not chooses_ways(run) or not run.parts.source.balanced:
        return None
    ways = next((n for n in range(LARGEST_TASK, 2, -1) if possible(run, n, 1, 1)), None)
    if ways is None:
        return None
    queries = next(q for q in (15, 10, 5, 3, 1) if possible(run, ways, 1, q))
    task = draw(run, [0], Sampling(ways, 1, queries))[0]
    return task if task.predicted else None


def confusion(task: Drawn) -> list[list[int]]:
    """Row: the true class; column: the predicted one; entries: number of queries."""
    size = task.spec.ways
    counts = [[0] * size for _ in range(size)]
    for truth, predicted in zip(task.truth, task.predicted, strict=True):
        counts[truth][predicted] += 1
    return counts


def brief(result: Result) -> dict[str, Any]:
    """A result without the value of every task; numbers that are not finite, which JSON has not, become None."""
    return _finite({name: value for name, value in result.to_json().items() if name != "values"})  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

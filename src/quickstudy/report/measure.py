"""Every number of a report, measured on unseen tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quickstudy import losses
from quickstudy.engine.vectorize import tasks_of
from quickstudy.episode import Episode, Features
from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.estimate import confidence
from quickstudy.evaluation.evaluate import Result
from quickstudy.learners import IterativeLearner
from quickstudy.runs.run import Run
from quickstudy.tasks.base import Sampling

SPLIT = "test"
SHOTS, WAYS, STEPS = (1, 2, 3, 5, 10), (2, 5, 10, 20), (0, 1, 5, 10)
LARGEST_TASK = 26
_CURVE_QUERIES = 10


def possible(run: Run, ways: int, shots: int, queries: int) -> bool:
    """Whether the tasks come in this size, the test data can give it, and the learner can do it."""
    try:
        source = run.parts.source.sampled(Sampling(ways, shots, queries))
        source.check(SPLIT)
        run.parts.engine.learner.at(source.spec)
    except (DataError, ConfigError):
        return False
    return True


def by_shots(run: Run, episodes: int) -> list[Result]:
    """The metric against the number of support examples: per class, or points where the task is a regression."""
    config, queries = run.config, min(run.config.queries, _CURVE_QUERIES)
    sizes = sorted({*SHOTS, config.shots})
    return [
        run.evaluate(shots=shots, queries=queries, episodes=episodes, compare_supports=False)
        for shots in sizes
        if possible(run, config.ways, shots, queries)
    ]


def by_ways(run: Run, episodes: int) -> list[Result]:
    """Accuracy against the number of classes; nothing where the learner cannot change it."""
    config, queries = run.config, min(run.config.queries, 5)
    sizes = [n for n in sorted({*WAYS, config.ways}) if possible(run, n, config.shots, queries)]
    if len(sizes) < 2:
        return []
    return [run.evaluate(ways=n, queries=queries, episodes=_fewer(episodes, n), compare_supports=False) for n in sizes]


def _fewer(episodes: int, ways: int) -> int:
    """Large tasks hold more queries each: fewer of them give the same certainty."""
    return max(10, episodes // 2) if ways > 5 else episodes


def by_steps(run: Run, episodes: int) -> list[Result]:
    """The metric after several numbers of inner steps; nothing for learners without inner steps."""
    learner = run.parts.engine.learner.evaluated()
    if not isinstance(learner, IterativeLearner):
        return []
    most = learner.steps if learner.network.norm == "per_step" else max(*STEPS, learner.steps)
    return [
        run.evaluate(steps=s, episodes=episodes, compare_supports=False)
        for s in sorted({*STEPS, learner.steps})
        if s <= most
    ]


def constant_answer(run: Run, episodes: int) -> tuple[float, float]:
    """MSE of always answering the mean of the support targets, with the half-width of its interval."""
    drawn = run.parts.source.episodes(SPLIT, torch.arange(episodes, device=run.parts.engine.device))
    values = []
    for one in tasks_of(drawn):
        mean = one.support.y[one.support.mask].mean(dim=0)
        values.append(losses.loss(mean.expand_as(one.query.y), one.query, run.parts.source.spec))
    return confidence(torch.stack(values).cpu())


@dataclass(frozen=True)
class Drawn:
    """One task with its predictions. names: of its classes. logits: (n, ways), or values (n, *target)."""

    index: int
    episode: Episode
    names: list[str]
    output: Tensor

    @property
    def predicted(self) -> list[int]:
        return [int(i) for i in self.output.argmax(dim=1)]

    @property
    def truth(self) -> list[int]:
        return [int(i) for i in self.episode.query.y]

    @property
    def accuracy(self) -> float:
        pairs = list(zip(self.predicted, self.truth, strict=True))
        return sum(p == t for p, t in pairs) / len(pairs)


def draw(run: Run, indices: Iterable[int], sampling: Sampling, steps: int | None = None) -> list[Drawn]:
    """Test tasks `indices` of this size, with the run's predictions after `steps` inner steps (None: the learner's)."""
    source, engine = run.sampled(sampling, steps)
    drawn = []
    for index in indices:
        batch = source.episodes(SPLIT, torch.tensor([index], device=engine.device))
        output = engine.predictions(run.params, batch)[0].float().cpu()
        one = Episode(*(type(p)(_first(p.x), p.y[0].cpu(), p.mask[0].cpu()) for p in batch))
        drawn.append(Drawn(index, one, source.class_names(SPLIT, index), output))
    return drawn


def _first(x: Features) -> Features:
    return {name: t[0].cpu() for name, t in x.items()} if isinstance(x, dict) else x[0].cpu()


def largest_task(run: Run) -> Drawn | None:
    """One task of as many classes as the data allows (at most 26), one example of each; None below 3 classes."""
    ways = next((n for n in range(LARGEST_TASK, 2, -1) if possible(run, n, 1, 1)), None)
    if ways is None:
        return None
    queries = next(q for q in (15, 10, 5, 3, 1) if possible(run, ways, 1, q))
    return draw(run, [0], Sampling(ways, 1, queries))[0]


def confusion(task: Drawn) -> list[list[int]]:
    """Row: the true class; column: the predicted one; entries: number of queries."""
    size = task.output.shape[1]
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

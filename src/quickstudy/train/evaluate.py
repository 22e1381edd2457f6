"""Accuracy or error over many unseen tasks, with a confidence interval and all that is needed to repeat it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy import losses
from quickstudy.engine import Engine
from quickstudy.engine.distribute import Group
from quickstudy.engine.vectorize import tasks_of
from quickstudy.episode import Episode, Params, check_episode
from quickstudy.errors import ConfigError
from quickstudy.tasks.base import Sampling, Source
from quickstudy.train.provenance import commit, machine
from quickstudy.version import __version__

_CHUNK = 16  # tasks evaluated at once


@dataclass(frozen=True)
class Result:
    """A metric over `episodes` tasks: mean, half-width of its 95 % confidence interval, and the value of every task.

    metric: 'accuracy' in [0, 1], or 'mse' in the target's units squared. transductive: predictions used the whole query
    set. `str(result)` is what a paper prints: '98.9 ± 0.2 %'.
    """

    metric: str
    mean: float
    ci95: float
    episodes: int
    split: str
    ways: int
    shots: int
    queries: int
    seed: int
    transductive: bool
    steps: int | None
    values: list[float] = field(repr=False)
    seconds: float = 0.0
    commit: str = ""
    version: str = ""
    machine: str = ""

    def __str__(self) -> str:
        if self.metric == "accuracy":
            return f"{100 * self.mean:.1f} ± {100 * self.ci95:.1f} %"
        digits = max(2, 1 - math.floor(math.log10(self.ci95))) if self.ci95 > 0 else 3
        return f"{self.mean:.{digits}f} ± {self.ci95:.{digits}f}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def confidence(values: Tensor) -> tuple[float, float]:
    """Mean of values (n,) and half-width of its 95 % confidence interval, 1.96 standard errors."""
    values = values.double()
    half = 1.96 * float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return float(values.mean()), half


def metrics_of(engine: Engine, params: Params, episodes: Episode) -> Tensor:
    """The metric of every task (T,), after adapting as learners do after training."""
    predictions = engine.predictions(params, episodes)
    return torch.stack(
        [losses.metric(p, e.query, engine.learner.spec) for p, e in zip(predictions, tasks_of(episodes), strict=True)]
    )


def evaluate(
    engine: Engine,
    params: Params,
    source: Source,
    split: str,
    episodes: int,
    on_progress: Any = None,
    group: Group | None = None,
) -> Result:
    """Evaluate calibrated φ on episodes 0 … `episodes` − 1 of `split`.

    engine: its learner must be `at` the source's spec. on_progress: called with the number of tasks done so far.
    group: processes that share the tasks; each gets the whole result.
    """
    group = group or Group()
    if episodes < 1:
        raise ConfigError(f"episodes must be at least 1, found {episodes}.")
    source.check(split)
    began, values = time.perf_counter(), torch.zeros(episodes, dtype=torch.float64)
    with group.together("evaluation"):
        for start in range(0, episodes, _CHUNK)[group.rank :: group.size]:
            indices = torch.arange(start, min(start + _CHUNK, episodes), device=engine.device)
            drawn = source.episodes(split, indices)
            if start == 0:
                check_episode(drawn, source.spec, tasks=True)
            values[start : start + _CHUNK] = metrics_of(engine, params, drawn).cpu()
            if on_progress is not None:
                on_progress(int(indices[-1]) + 1)
    values = group.sum(values, "evaluation")
    result = result_of_values(engine, values, source.sampling, split, source.seed)
    return replace(result, seconds=time.perf_counter() - began)


def result_of_values(engine: Engine, values: Tensor, size: Sampling, split: str, seed: int) -> Result:
    """The Result of measured `values`, one for each task (n,)."""
    mean, ci95 = confidence(values)
    learner = engine.learner.evaluated()
    return Result(
        metric=losses.metric_name(learner.spec),
        mean=mean,
        ci95=ci95,
        episodes=len(values),
        split=split,
        ways=learner.spec.ways,
        shots=size.shots,
        queries=size.queries,
        seed=seed,
        transductive=learner.transductive,
        steps=getattr(learner, "steps", None),
        values=values.tolist(),
        commit=commit(),
        version=__version__,
        machine=machine(engine.device),
    )

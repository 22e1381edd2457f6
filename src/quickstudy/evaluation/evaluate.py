"""Accuracy or error over many unseen tasks, with a confidence interval and all that is needed to repeat it."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
from quickstudy.evaluation.estimate import Estimate, confidence
from quickstudy.evaluation.support_use import TASKS, SupportUse, support_use
from quickstudy.storage.provenance import commit, machine
from quickstudy.tasks.base import Sampling, Source
from quickstudy.version import __version__

_CHUNK = 16  # tasks evaluated at once


@dataclass(frozen=True)
class Result:
    """A metric over `episodes` tasks: mean, half-width of its 95 % confidence interval, and the value of every task.

    metric: 'accuracy' in [0, 1], or 'mse' in the target's units squared. transductive: predictions used the whole query
    set. support: whether the learner uses its support sets, None where that was not measured. figures: what else the
    learner tells, see `Learner.figures`. `str(result)` is what a paper prints: '98.9 ± 0.2 %'.
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
    support: SupportUse | None = None
    figures: dict[str, Estimate] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.metric == "accuracy":
            return f"{100 * self.mean:.1f} ± {100 * self.ci95:.1f} %"
        return str(Estimate(self.mean, self.ci95))

    @property
    def ignores_support(self) -> bool:
        """Whether another task's support set served as well as a task's own, as far as the interval can tell."""
        return self.support is not None and self.support.ignored

    @property
    def warning(self) -> str:
        """One line for whoever reads the result, if the learner ignores its support set; '' if all is well.

        Nothing is said of evaluations with 0 inner steps, which are made to ignore it.
        """
        if not self.ignores_support or self.steps == 0:
            return ""
        remedy = "--shuffle-labels" if self.metric == "accuracy" else "--target-offset"
        few = "" if self.support is None or self.support.tasks >= TASKS else " Evaluate more tasks to be surer of it."
        return (
            f"The learner ignores its support set: {self.support}. It guesses the task without it, or has not learned "
            f"to use it: train longer, on more tasks, with {remedy}, or with weight decay (--optimizer-options "
            f"weight_decay 0.01).{few}"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `to_json`; results of versions that did not look at the support set have no `support`."""
        support = data.get("support")
        figures = {name: Estimate(**one) for name, one in data.get("figures", {}).items()}
        return cls(
            **{**data, "support": None if support is None else SupportUse.from_json(support), "figures": figures}
        )


def figures_of(engine: Engine, params: Params, episodes: Episode) -> tuple[Tensor, ...]:
    """The learner's own figures of every task, each (T,)."""
    learner = engine.learner.evaluated()
    return engine.map(lambda episode: tuple(learner.figures(params, episode).values()), episodes)


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
    compare_supports: bool = True,
) -> Result:
    """Evaluate calibrated φ on episodes 0 … `episodes` − 1 of `split`.

    engine: its learner must be `at` the source's spec. on_progress: called with the number of tasks done so far.
    group: processes that share the tasks; each gets the whole result. compare_supports: also measure whether the
    learner uses its support sets, on at most 64 of the tasks, see `SupportUse`.
    """
    group = group or Group()
    if episodes < 1:
        raise ConfigError(f"episodes must be at least 1, found {episodes}.")
    source.check(split)
    began, values = time.perf_counter(), torch.zeros(episodes, dtype=torch.float64)
    told = {name: torch.zeros_like(values) for name in engine.learner.evaluated().figure_names}
    with group.together("evaluation"):
        for start in range(0, episodes, _CHUNK)[group.rank :: group.size]:
            indices = torch.arange(start, min(start + _CHUNK, episodes), device=engine.device)
            drawn = source.episodes(split, indices)
            if start == 0:
                check_episode(drawn, source.spec, tasks=True)
            values[start : start + _CHUNK] = metrics_of(engine, params, drawn).cpu()
            if told:
                for column, found in zip(told.values(), figures_of(engine, params, drawn), strict=True):
                    column[start : start + _CHUNK] = found.cpu()
            if on_progress is not None:
                on_progress(int(indices[-1]) + 1)
    values = group.sum(values, "evaluation")
    told = {name: group.sum(column, "evaluation") for name, column in told.items()}
    known = {name: column[~column.isnan()] for name, column in told.items()}
    figures = {name: Estimate.of(column) for name, column in known.items() if len(column)}
    result = result_of_values(engine, values, source.sampling, split, source.seed)
    result = replace(result, seconds=time.perf_counter() - began, figures=figures)
    if not compare_supports or episodes < 2:
        return result
    return replace(result, support=support_use(engine, params, source, split, episodes, group))


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

"""The headline metric over many unseen tasks, with a confidence interval and all that is needed to repeat it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.engine.distribute import Group
from quickstudy.engine.kept import on_features
from quickstudy.engine.vectorize import tasks_of
from quickstudy.episode import Episode, Params
from quickstudy.errors import ConfigError
from quickstudy.evaluation.estimate import Estimate, confidence
from quickstudy.evaluation.support_use import TASKS, SupportUse, support_use
from quickstudy.spec import check_episode
from quickstudy.storage.provenance import commit, machine
from quickstudy.targets.metric import Metric, metric_named
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.domains import of_domain
from quickstudy.version import __version__

_CHUNK, _LARGEST = 16, 256  # tasks evaluated at once: the least, and the most
_NUMBERS = 1 << 22  # that their examples have together, where that is not the least already


@dataclass(frozen=True)
class Result:
    """A metric over `episodes` tasks: mean, half-width of its 95 % confidence interval, and the value of every task.

    metric: the name of the target's headline, see `figure`. transductive: predictions used the whole query set.
    support: whether the learner uses its support sets, and baseline: what one reaches who answers without a look at the
    inputs (guessing, the mean …), over the same tasks; None where that was not measured. domains: the metric of each,
    where tasks are of several, all as many tasks; the mean is then that of domains, and the interval that of this mean,
    for these domains. figures: what else the learner
    tells, see `Learner.figures`. remedy: against ignored support sets. `str(result)` is what a paper prints:
    '98.9 ± 0.2 %'.
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
    baseline: Estimate | None = None
    remedy: str = ""
    domains: dict[str, Estimate] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.figure.interval(self.mean, self.ci95)

    @property
    def figure(self) -> Metric:
        """The metric: its direction, and how it reads to people."""
        return metric_named(self.metric)

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
        few = "" if self.support is None or self.support.tasks >= TASKS else " Evaluate more tasks to be surer of it."
        return (
            f"The learner ignores its support set: {self.support}. It guesses the task without it, or has not learned "
            f"to use it: train longer, on more tasks, with {self.remedy}, or with weight decay (--optimizer-options "
            f"weight_decay 0.01).{few}"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `to_json`; results of versions that did not look at the support set have no `support`."""
        support, baseline = data.get("support"), data.get("baseline")
        read = {
            "support": None if support is None else SupportUse.from_json(support),
            "figures": {name: Estimate(**one) for name, one in data.get("figures", {}).items()},
            "domains": {name: Estimate(**one) for name, one in data.get("domains", {}).items()},
            "baseline": None if baseline is None else Estimate(**baseline),
        }
        return cls(**{**data, **read})


def figures_of(engine: Engine, params: Params, episodes: Episode) -> tuple[Tensor, ...]:
    """The learner's own figures of every task, each (T,)."""
    learner = engine.learner.evaluated()
    return engine.map(lambda episode: tuple(learner.figures(params, episode).values()), episodes)


def metrics_of(engine: Engine, params: Params, episodes: Episode) -> Tensor:
    """The metric of every task (T,), after adapting as learners do after training."""
    learner = engine.learner.evaluated()

    def score(episode: Episode) -> tuple[Tensor, ...]:
        prediction = learner.predict(params, learner.adapt(params, episode.support), episode.query.x)
        return (learner.spec.target.score(prediction, episode.query),)

    return engine.map(score, episodes)[0]


def at_once(source: Source) -> int:
    """How many tasks of a source are evaluated at once: more where they are small."""
    size, layout = source.sampling, source.spec.format.layout.values()
    numbers = size.ways * (size.shots + size.queries) * sum(math.prod(leaf.shape) for leaf in layout)
    return max(_CHUNK, min(_LARGEST, _NUMBERS // max(1, numbers)))


def baseline_of(engine: Engine, episodes: Episode) -> Tensor:
    """The headline of every task (T,) for what one would answer without a look at the inputs."""
    target = engine.learner.spec.target
    return torch.stack([target.score(target.baseline(e.support, e.query), e.query) for e in tasks_of(episodes)])


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
    """Evaluate calibrated φ on episodes 0 … `episodes` − 1 of `split`; of several domains, on so many of each.

    engine: its learner must be `at` the source's spec. on_progress: called with the number of tasks done so far.
    group: processes that share the tasks; each gets the whole result. compare_supports: also measure whether the
    learner uses its support sets, on at most 64 of the tasks, see `SupportUse`; and the baseline, on all of them.
    """
    group = group or Group()
    if episodes < 1:
        raise ConfigError(f"episodes must be at least 1, found {episodes}.")
    if parts := source.parts(split):
        each = {}
        for number, (name, part) in enumerate(parts.items()):
            said = None if on_progress is None else partial(_of_several, on_progress, number, len(parts), episodes)
            with of_domain(name):
                each[name] = evaluate(engine, params, part, split, episodes, said, group, compare_supports)
        result = over_domains(engine, each, source, split)
        if not compare_supports or episodes < 2:
            return result
        return replace(result, support=support_use(engine, params, source, split, episodes * len(parts), group))
    engine, source = on_features(engine, params, source)
    source.check(split)
    began, values = time.perf_counter(), torch.zeros(episodes, dtype=torch.float64)
    told = {name: torch.zeros_like(values) for name in engine.learner.evaluated().figure_names}
    blind, count = torch.zeros_like(values), at_once(source)
    with group.together("evaluation"):
        for start in range(0, episodes, count)[group.rank :: group.size]:
            indices = torch.arange(start, min(start + count, episodes), device=engine.device)
            drawn = source.episodes(split, indices)
            if start == 0:
                check_episode(drawn, source.spec, tasks=True, partly=engine.learner.semi_supervised)
            values[start : start + count] = metrics_of(engine, params, drawn).cpu()
            if compare_supports:
                blind[start : start + count] = baseline_of(engine, drawn).cpu()
            if told:
                for column, values_of in zip(told.values(), figures_of(engine, params, drawn), strict=True):
                    column[start : start + count] = values_of.cpu()
            if on_progress is not None:
                on_progress(int(indices[-1]) + 1)
    values = group.sum(values, "evaluation")
    blind = group.sum(blind, "evaluation") if compare_supports else blind
    told = {name: group.sum(column, "evaluation") for name, column in told.items()}
    known = {name: column[~column.isnan()] for name, column in told.items()}
    figures = {name: Estimate.of(column) for name, column in known.items() if len(column)}
    result = result_of_values(engine, values, source.sampling, split, source.seed)
    result = replace(result, seconds=time.perf_counter() - began, figures=figures)
    if not compare_supports or episodes < 2:
        return result
    use = support_use(engine, params, source, split, episodes, group)
    return replace(result, support=use, baseline=Estimate.of(blind))


def _of_several(tell: Any, number: int, parts: int, episodes: int, done: int) -> None:
    """Tell how many of the asked-for tasks are done, of those of one domain after another."""
    tell((number * episodes + done) // parts)


def over_domains(engine: Engine, each: Mapping[str, Result], source: Source, split: str) -> Result:
    """The Result of several domains together, each of which counts alike."""
    parts = list(each.values())
    values = torch.tensor([value for part in parts for value in part.values], dtype=torch.float64)
    whole = result_of_values(engine, values, source.sampling, split, source.seed)
    names = [name for name in parts[0].figures if all(name in part.figures for part in parts)]
    blind = [part.baseline for part in parts if part.baseline is not None]
    own = {name: Estimate(part.mean, part.ci95, part.episodes) for name, part in each.items()}
    mean = Estimate.together(list(own.values()))
    return replace(
        whole,
        mean=mean.mean,
        ci95=mean.ci95,
        domains=own,
        seconds=sum(part.seconds for part in parts),
        figures={name: Estimate.together([part.figures[name] for part in parts]) for name in names},
        baseline=Estimate.together(blind) if blind else None,
    )


def result_of_values(engine: Engine, values: Tensor, size: Sampling, split: str, seed: int) -> Result:
    """The Result of measured `values`, one for each task (n,)."""
    mean, ci95 = confidence(values)
    learner = engine.learner.evaluated()
    return Result(
        metric=learner.spec.target.metric.name,
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
        remedy=learner.spec.target.remedy,
    )

"""The headline metric over many unseen tasks, with a confidence interval and all that is needed to repeat it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from quickstudy.evaluation.result import Result
from quickstudy.evaluation.support_use import support_use
from quickstudy.spec import check_episode
from quickstudy.storage.provenance import commit, machine
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.domains import of_domain
from quickstudy.version import __version__

_CHUNK, _LARGEST = 16, 256  # tasks evaluated at once: the least, and the most
_NUMBERS = 1 << 22  # that their examples have together, where that is not the least already


def figures_of(engine: Engine, params: Params, episodes: Episode) -> tuple[Tensor, ...]:
    """The learner's own figures of every task, each (T,)."""
    learner = engine.learner.evaluated()
    return engine.map(lambda episode: tuple(learner.figures(params, episode).values()), episodes)


def metrics_of(engine: Engine, params: Params, episodes: Episode) -> dict[str, Tensor]:
    """The target's metrics of every task, each (T,), after adapting as learners do after training."""
    learner = engine.learner.evaluated()
    names: list[str] = []

    def metrics(episode: Episode) -> tuple[Tensor, ...]:
        prediction = learner.predict(params, learner.adapt(params, episode.support), episode.query.x)
        found = learner.spec.target.metrics(prediction, episode.query)
        names[:] = found
        return tuple(found.values())

    values = engine.map(metrics, episodes)
    return dict(zip(names, values, strict=True))


def at_once(source: Source) -> int:
    """How many tasks of a source are evaluated at once: more where they are small."""
    size, layout = source.sampling, source.spec.format.layout.values()
    numbers = size.ways * (size.shots + size.queries) * source.longest * sum(math.prod(leaf.shape) for leaf in layout)
    return max(_CHUNK, min(_LARGEST, _NUMBERS // max(1, numbers)))


def batches(source: Source, split: str, tasks: int, device: torch.device, first: int = 0) -> Iterator[Episode]:
    """So many tasks of a split, from number `first` on, as many in each part as are evaluated at once."""
    count = at_once(source)
    for start in range(0, tasks, count):
        yield source.episodes(split, first + torch.arange(start, min(start + count, tasks), device=device))


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
    source = source.under(engine.learner.evaluated(), params)
    source.check(split)
    rivals = source.others() if compare_supports and episodes > 1 else {}
    compare_supports = compare_supports and not rivals  # where what is done decides what is seen, these say more
    began, count = time.perf_counter(), at_once(source)
    blind = torch.zeros(episodes, dtype=torch.float64)
    scored: dict[str, Tensor] = {}
    told = {name: torch.zeros_like(blind) for name in engine.learner.evaluated().figure_names}
    with group.together("evaluation"):
        for start in range(0, episodes, count)[group.rank :: group.size]:
            indices = torch.arange(start, min(start + count, episodes), device=engine.device)
            drawn = source.episodes(split, indices)
            if start == 0:
                check_episode(drawn, source.spec, tasks=True, partly=engine.learner.semi_supervised)
            for name, values in metrics_of(engine, params, drawn).items():
                scored.setdefault(name, torch.zeros_like(blind))[start : start + count] = values.cpu()
            if compare_supports:
                blind[start : start + count] = baseline_of(engine, drawn).cpu()
            if told:
                for column, values_of in zip(told.values(), figures_of(engine, params, drawn), strict=True):
                    column[start : start + count] = values_of.cpu()
            if on_progress is not None:
                on_progress(int(indices[-1]) + 1)
    names = next(filter(None, group.gather(list(scored), "evaluation")))  # a process may have had no task
    first, *others = (group.sum(scored.get(name, torch.zeros_like(blind)), "evaluation") for name in names)
    blind = group.sum(blind, "evaluation") if compare_supports else blind
    told = {name: group.sum(column, "evaluation") for name, column in told.items()}
    result = result_of_values(engine, first, source.sampling, split, source.seed)
    further = _where_known(dict(zip(names[1:], others, strict=True)))
    result = replace(result, seconds=time.perf_counter() - began, further=further, figures=_where_known(told))
    if rivals:
        found = {name: _of_another(engine, one, split, episodes) for name, one in rivals.items()}
        found |= {who: {result.metric: Estimate(mean, 0.0, 0)} for who, mean in source.computed().items()}
        return replace(result, references=found)
    if not compare_supports or episodes < 2:
        return result
    use = support_use(engine, params, source, split, episodes, group)
    return replace(result, support=use, baseline=Estimate.of(blind))


def _of_another(engine: Engine, source: Source, split: str, episodes: int) -> dict[str, Estimate]:
    """The target's metrics of the same tasks as another than the learner meets them."""
    target = engine.learner.spec.target
    scored: dict[str, list[float]] = {}
    for drawn in batches(source, split, episodes, engine.device):
        for one in tasks_of(drawn):
            for metric, value in target.metrics(target.baseline(one.support, one.query), one.query).items():
                scored.setdefault(metric, []).append(float(value))
    return _where_known({metric: torch.tensor(values, dtype=torch.float64) for metric, values in scored.items()})


def _where_known(columns: Mapping[str, Tensor]) -> dict[str, Estimate]:
    """The estimate of each figure over the tasks in which it is no NaN; without those that nowhere are."""
    known = {name: column[~column.isnan()] for name, column in columns.items()}
    return {name: Estimate.of(column) for name, column in known.items() if len(column)}


def _of_several(tell: Any, number: int, parts: int, episodes: int, done: int) -> None:
    """Tell how many of the asked-for tasks are done, of those of one domain after another."""
    tell((number * episodes + done) // parts)


def over_domains(engine: Engine, each: Mapping[str, Result], source: Source, split: str) -> Result:
    """The Result of several domains together, each of which counts alike."""
    parts = list(each.values())
    values = torch.tensor([value for part in parts for value in part.values], dtype=torch.float64)
    whole = result_of_values(engine, values, source.sampling, split, source.seed)
    blind = [part.baseline for part in parts if part.baseline is not None]
    own = {name: Estimate(part.mean, part.ci95, part.episodes) for name, part in each.items()}
    mean = Estimate.together(list(own.values()))
    return replace(
        whole,
        mean=mean.mean,
        ci95=mean.ci95,
        domains=own,
        seconds=sum(part.seconds for part in parts),
        further=_in_all([part.further for part in parts]),
        figures=_in_all([part.figures for part in parts]),
        baseline=Estimate.together(blind) if blind else None,
    )


def _in_all(parts: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """The figures that are known in every domain, together."""
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: Estimate.together([part[name] for part in parts]) for name in names}


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

"""Averages of runs as runs: models trained apart from one recipe, or one recipe trained on parts of its classes."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from quickstudy import registry, rng
from quickstudy.averaging.check import Verdict, no_worse, verdict
from quickstudy.averaging.episodic import Episodic
from quickstudy.averaging.means import Weights, finite, for_each, mean, strangers
from quickstudy.averaging.rounds import Backend, Round, train_parts
from quickstudy.averaging.soup import Interpolation, greedy_soup, interpolation
from quickstudy.brief import Brief
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, DataError, unknown_name
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.runs.run import Run
from quickstudy.runs.train import describe, keep
from quickstudy.storage.atomic import GO_ON
from quickstudy.storage.folders import take_folder
from quickstudy.storage.json import write_json
from quickstudy.storage.tensors import save_tensors
from quickstudy.tasks.base import Source, held_out
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.transformed import Transformed
from quickstudy.training import splits
from quickstudy.training.build import Parts, build, calibrated, initial_params
from quickstudy.training.config import RunConfig
from quickstudy.training.progress import Progress
from quickstudy.workers import Workers

_log = logging.getLogger("quickstudy")
How = Literal["greedy", "mean"]
"""'greedy': a soup, never worse on validation tasks than its best member. 'mean': of all, uniform or weighted."""
Divide = Literal["groups", "classes"]
"""Parts of the training classes: whole groups such as alphabets, or classes dealt out alike."""


@dataclass(frozen=True)
class Averaged(Brief):
    """run: the average. members: the names of the runs in it. scores: validation of each run alone, in the metric.

    interpolation: the validation loss between the two best runs, None where there is one run only. verdict: the average
    beside its best member, on other validation tasks than it was chosen by; None where there was one member only, or
    where nothing could be measured. A soup that is worse there is given up: its best member is then the only one.
    unchecked: why nothing could be; '' where it was.
    """

    run: Run
    members: tuple[str, ...]
    scores: Mapping[str, float]
    score: float
    interpolation: Interpolation | None
    verdict: Verdict | None = None
    unchecked: str = ""


def average_runs(
    runs: Sequence[Run],
    out: str | Path,
    how: How = "greedy",
    weights: Weights | None = None,
    even_if_worse: bool = False,
    quiet: bool = True,
) -> Averaged:
    """A new run at `out` whose φ is the average of those of `runs`, BatchNorm statistics taken anew.

    weights: for 'mean', in the order of the runs or by their folders. even_if_worse: take an average that is worse than
    its best member on validation tasks; otherwise a mean is refused, by ModelError, and a soup is its best member. A
    mean of runs whose tasks are not at hand cannot be measured, nor its statistics be taken anew: a warning says so.
    Raises ModelError where runs are of different networks, naming the first parameter that differs; a warning says if
    they seem to come from different initialisations.
    """
    if how not in get_args(How):
        raise unknown_name("way to average", how, get_args(How))
    if not runs:
        raise ConfigError("There is no run to average. Name at least one.")
    if weights is not None and how == "greedy":
        raise ConfigError("A greedy soup chooses its members by itself. Leave the weights out, or take the mean.")
    first = runs[0]
    everyone = {str(run.folder): run.params for run in runs}
    by_name = for_each(everyone, [1.0] * len(everyone) if weights is None else weights, "weight")
    models = finite(everyone)
    with take_folder(first.config.name, out, overwrite=False) as held:  # refused before the work, not after it
        strangers(models)
        try:
            parts = first.parts
        except (DataError, ConfigError) as error:  # what a run raises whose tasks cannot be made
            if how == "greedy":
                raise
            return _unmeasured(first, models, by_name, held.folder, str(error))
        return _averaged(first, parts, models, how, by_name, held.folder, even_if_worse, quiet)


def _averaged(
    first: Run,
    parts: Parts,
    models: Mapping[str, Params],
    how: How,
    by_name: Mapping[str, float],
    folder: Path,
    even_if_worse: bool,
    quiet: bool,
) -> Averaged:
    config = first.config
    goodness = parts.source.spec.target.metric.goodness

    def values(params: Params, source: Source = parts.source) -> Tensor:
        settled, count = calibrated(parts, config, params), config.validation_episodes
        with Progress("Measuring a run, or an average, on validation tasks", count, quiet=quiet) as progress:
            found = evaluate(parts.engine, settled, source, "val", count, progress.update, compare_supports=False)
        return torch.tensor([goodness(value) for value in found.values], dtype=torch.float64)

    def score(params: Params) -> float:
        return float(values(params).mean())

    fresh = int(rng.fold(rng.key(config.seed, "average"), 0) % (1 << 31))
    others = parts.source.seeded(fresh)  # validation tasks by which nothing was chosen

    def val_loss(params: Params) -> float:
        if registry.learners.traits(config.learner.name).acts:  # whose loss says only where to go from where they are
            return -score(params)
        settled = calibrated(parts, config, params)
        episodes = parts.source.episodes("val", torch.arange(min(50, config.validation_episodes)))
        judged = parts.engine.map(lambda e: (parts.engine.learner.score(settled, e)[0],), episodes)
        return float(judged[0].mean())

    soup = greedy_soup(models, score) if how == "greedy" else None
    params = mean(models, {name: by_name[name] for name in models}) if soup is None else soup.params
    scores = {name: score(model) for name, model in models.items()} if soup is None else soup.scores
    best = sorted(scores, key=lambda name: -scores[name])[:2]
    between = interpolation(models[best[0]], models[best[1]], val_loss) if len(best) > 1 else None
    members = tuple(models) if soup is None else soup.members
    found = None
    if len(members) > 1:
        judge = no_worse if how == "mean" and not even_if_worse else verdict
        found = judge(params, {best[0]: models[best[0]]}, lambda one: values(one, others))
        if found.worse and not even_if_worse:  # a soup, whose members looked better than they are by chance
            params, members = models[best[0]], (best[0],)
    named = replace(config, name=folder.resolve().name)
    run = _store(named, parts, params, folder, {"averaged": list(members)}, like=first)
    validated = {name: goodness(value) for name, value in scores.items()}
    return Averaged(run, members, validated, run.kept["validation"], between, found)


def _unmeasured(
    first: Run, models: Mapping[str, Params], by_name: Mapping[str, float], folder: Path, why: str
) -> Averaged:
    """The mean of runs whose tasks cannot be had."""
    params, members = mean(models, {name: by_name[name] for name in models}), list(models)
    _log.warning(
        "Not checked: whether this average is worse than its best member, and what statistics of normalisation layers "
        "are right for it, since the tasks of %s cannot be had. Evaluate it before it is used. (%s)",
        first.folder,
        why,
    )
    if (first.folder / splits.NAME).exists():
        shutil.copyfile(first.folder / splits.NAME, folder / splits.NAME)
    write_json(folder / "config.json", replace(first.config, name=folder.resolve().name).to_json())
    seen = {"validation": math.nan, "validation_ci95": math.nan, "averaged": members, "unchecked": why}
    facts = {"kind": "run", "spec": first.spec.to_json(), "step": 0, **seen}
    save_tensors(folder / "model.safetensors", params, facts, GO_ON)
    run = Run(folder, first._module, first._source)
    return Averaged(run, tuple(members), dict.fromkeys(members, math.nan), math.nan, None, unchecked=why)


def train_on_parts(
    config: RunConfig,
    out: str | Path,
    *,
    rounds: int,
    steps: int,
    divide: Divide = "groups",
    parts: int = 10,
    fraction: float = 1.0,
    outer_lr: float = 1.0,
    backend: Backend | Workers = "processes",
    workers: int | None = None,
    progress: Callable[[Round], None] | None = None,
) -> Run:
    """Train the recipe's learner apart on parts of its training classes and average, round after round, into a run.

    steps: outer steps of each member in a round, on `meta_batch` tasks each, by the recipe's optimizer, rate, bound and
    schedule, which is spread over the `rounds` · `steps` steps. Instead of a moving average, φ is the average of the
    members. divide: by 'groups' each group of classes is a part; by 'classes' they are dealt out to `parts` parts. See
    `train_parts` and `Episodic`.
    """
    with take_folder(config.name, out, overwrite=False) as held:  # refused before the work, not after it
        config = config.settled()
        built = build(config)
        source = built.training
        pool = source.source if isinstance(source, Transformed) else source
        if not isinstance(pool, ClassSource):
            raise ConfigError(
                "Parts are made of classes: use tasks with a fixed set of them, such as folder or omniglot."
            )
        engine = built.training_engine
        outer = replace(config.outer, average=0.0, iterations=rounds * steps)
        if divide == "groups":
            member = Episodic.by_group(engine, pool, outer, steps, config.meta_batch)
        elif divide == "classes":
            member = Episodic.by_class(engine, pool, outer, parts, steps, config.meta_batch)
        else:
            raise unknown_name("way to divide", divide, get_args(Divide))
        if isinstance(source, Transformed):
            member = replace(member, sources=tuple(replace(source, source=own) for own in member.sources))
        ended = train_parts(
            member, initial_params(built, config), rounds=rounds, fraction=fraction, outer_lr=outer_lr, backend=backend,
            workers=workers, seed=config.seed, progress=progress,
        )  # fmt: skip
        facts = {
            "parts": len(member.sizes),
            "rounds": rounds,
            "steps": steps,
            "fraction": fraction,
            "outer_lr": outer_lr,
        }
        return _store(config, built, ended.params, held.folder, {"partition": facts}, rounds * steps)


def _store(
    config: RunConfig,
    parts: Parts,
    params: Params,
    folder: Path,
    facts: Any,
    step: int = 0,
    like: Run | None = None,
) -> Run:
    """A run folder around φ, validated, as training would have left it. like: a run of the same module and source."""
    params = calibrated(parts, config, params)
    result = evaluate(parts.engine, params, parts.source, "val", config.validation_episodes, compare_supports=False)
    describe(folder, config, parts.source)
    seen = {"validation": result.mean, "validation_ci95": result.ci95, "held_out": held_out(parts.source)}
    keep(folder, parts, params, {"step": step, **seen, **facts})
    return Run(folder) if like is None else Run(folder, like._module, like._source)

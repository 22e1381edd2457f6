"""Averages of runs as runs: models trained apart from one recipe, or one recipe trained on parts of its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from quickstudy import registry
from quickstudy.averaging.episodic import Episodic
from quickstudy.averaging.means import Weights, finite, for_each, mean, strangers
from quickstudy.averaging.rounds import Backend, Round, train_parts
from quickstudy.averaging.soup import Interpolation, greedy_soup, interpolation
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, unknown_name
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.runs.run import Run
from quickstudy.runs.train import describe, keep
from quickstudy.storage.folders import take_folder
from quickstudy.tasks.base import held_out
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.transformed import Transformed
from quickstudy.training.build import Parts, build, calibrated, initial_params
from quickstudy.training.config import RunConfig
from quickstudy.workers import Workers

How = Literal["greedy", "mean"]
"""'greedy': a soup, never worse on validation tasks than its best member. 'mean': of all, uniform or weighted."""
Divide = Literal["groups", "classes"]
"""Parts of the training classes: whole groups such as alphabets, or classes dealt out alike."""


@dataclass(frozen=True)
class Averaged:
    """run: the average. members: the names of the runs in it. scores: validation of each run alone, in the metric.

    interpolation: the validation loss between the two best runs, None where there is one run only.
    """

    run: Run
    members: tuple[str, ...]
    scores: Mapping[str, float]
    score: float
    interpolation: Interpolation | None


def average_runs(runs: Sequence[Run], out: str | Path, how: How = "greedy", weights: Weights | None = None) -> Averaged:
    """A new run at `out` whose φ is the average of those of `runs`, BatchNorm statistics taken anew.

    weights: for 'mean', in the order of the runs or by their folders. Raises ModelError where they are of different
    networks, naming the first parameter that differs; a warning says if they seem to come from different
    initialisations.
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
        return _averaged(first, models, how, by_name, held.folder)


def _averaged(
    first: Run, models: Mapping[str, Params], how: How, by_name: Mapping[str, float], folder: Path
) -> Averaged:
    config, parts = first.config, first.parts
    goodness = parts.source.spec.target.metric.goodness

    def score(params: Params) -> float:
        settled, count = calibrated(parts, config, params), config.validation_episodes
        return goodness(evaluate(parts.engine, settled, parts.source, "val", count, compare_supports=False).mean)

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
    named = replace(config, name=folder.resolve().name)
    run = _store(named, parts, params, folder, {"averaged": list(members)}, like=first)
    return Averaged(run, members, {n: goodness(s) for n, s in scores.items()}, run.kept["validation"], between)


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

"""One trial: a config trained for some seconds, and what it reaches on validation tasks."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

from quickstudy.errors import DataError, RunError
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.registry import sources
from quickstudy.runs.run import Run
from quickstudy.runs.train import keep, new_run
from quickstudy.storage.folders import take_run
from quickstudy.storage.json import read_json
from quickstudy.tasks.base import Source, held_out
from quickstudy.training.build import Parts, build, initial_params
from quickstudy.training.config import RunConfig
from quickstudy.training.loop import Interrupted, Training
from quickstudy.training.metrics import read_metrics
from quickstudy.training.protocol import tuples
from quickstudy.workers import Outcome, Workers

PROBE = 1.0
"""Seconds of steps by which their rate is measured at least, so that a schedule ends when time does."""
LATE = 1.25
"""How much longer than planned training may take before it is ended."""
_MANY = 1_000_000  # steps, more than there is time for
_FIRST = 4  # steps that say nothing of the others
_OWN = ("learner", "model", "lr", "train_ways", "seed")  # what makes a trial the one that it is
_TIMED, _VALIDATING = 4, 0.25  # tasks by which validation is timed, and the share of training that it may take
_REACH = 20  # one part in so many of training is what the moving average of φ reaches over


class Found(TypedDict):
    """What came of training. values: the headline of each validation task, the same tasks for all trials."""

    steps: int
    seconds: float
    mean: float
    ci95: float
    values: list[float]


@dataclass(frozen=True)
class Attempt:
    """What a worker is asked for: the run in `folder` trained for `seconds`, from the network of the run `start` on.

    config: a run's, as JSON, for it may be sent to another process. episodes: validation tasks. validations: how often
    it is validated, the last step included; the best φ of these is kept, so that long training does no harm.
    """

    config: Mapping[str, Any]
    folder: str
    seconds: float
    episodes: int
    start: str = ""
    validations: int = 1


def attempt(asked: Attempt, source: Source | None = None) -> Found:
    """Train and validate, in the folder that is asked for; where a run was stopped there, go on with it.

    source: the tasks, where they cannot be named. Raises RunError where another run lies in the folder, and
    KeyboardInterrupt where it was asked to stop, after saving.
    """
    folder, config = Path(asked.folder), RunConfig.from_json(asked.config)
    tasks = _read(json.dumps(asked.config["tasks"], sort_keys=True)) if source is None else source
    if begun := (folder / "config.json").exists():
        asked_for, config = config.to_json(), RunConfig.from_json(read_json(folder / "config.json"))
        if any(value != asked_for[name] for name, value in config.to_json().items() if name in _OWN):
            raise RunError(f"In {folder} lies a run with other settings than this trial's. Move it away.")
        parts, held = build(config, None, tasks, stored=True), take_run(folder)
    else:
        parts = build(config, None, tasks)
        config = planned(config, parts, asked.seconds, _affordable(asked, parts, config))
        config = replace(config, start=asked.start or config.start, validation_episodes=asked.episodes)
        held = new_run(config, parts.source, folder, overwrite=False)
    with held:
        training = Training(parts, config, folder, partial(keep, folder, parts), limit=LATE * asked.seconds)
        if begun:
            training.resume()
        try:
            training.run(quiet=True)
        except Interrupted as stopped:
            raise KeyboardInterrupt from stopped  # which ends a search, and is no failure of a trial
    result, kept = training.validated, Run(folder)
    if result is None or kept.kept["step"] != training.step:  # it was stopped after its end, or was better before
        result = evaluate(parts.engine, kept.params, parts.source, "val", asked.episodes, compare_supports=False)
    values = [round(value, 6) for value in result.values]
    return Found(steps=training.step, seconds=training.seconds, mean=result.mean, ci95=result.ci95, values=values)


def attempted(asked: Attempt, name: str, source: Source) -> Outcome[Found]:
    """What came of an attempt, here: where it failed, why."""
    with Workers("loop") as here:
        (outcome,) = here.outcomes(partial(attempt, source=source), [(name, (asked,))], retries=0)
    return outcome


def comparable(config: RunConfig, source: Source | None) -> Source:
    """The tasks of a config, or `source` in their place, if trials can be compared by them.

    Raises DataError where no class is held out for validation, or too few are.
    """
    tasks: Source = config.tasks.build() if source is None else source
    if not held_out(tasks):
        raise DataError(
            "No class is held out for validation, so that there is nothing to compare trials by: what is trained on "
            "says nothing about new tasks. Add classes, or hold some out."
        )
    tasks.sampled(config.sampling).check("val")
    return tasks


@lru_cache(maxsize=2)
def _read(tasks: str) -> Source:
    """Tasks by the JSON of their part: a worker that is kept reads their files once."""
    part = json.loads(tasks)
    source: Source = sources.make(part["name"], **{name: tuples(value) for name, value in part["options"].items()})
    return source


def planned(config: RunConfig, parts: Parts, seconds: float, validations: int = 1) -> RunConfig:
    """The config with as many steps as fit into the seconds, by the rate of its first ones, and a schedule that ends
    with them; with none where there is nothing that they would move, as in a network without weights."""
    learner = parts.training_engine.learner
    if not config.iterations or not any(map(learner.moves, initial_params(parts, config))):
        return replace(config, iterations=0)
    iterations = max(1, math.floor(seconds * rate(config, parts, seconds)))
    average = 0.0 if iterations < 2 * _REACH else min(0.998, 1 - _REACH / iterations)
    return replace(
        config, iterations=iterations, average=average, schedule="CosineAnnealingLR", schedule_options={},
        validate_every=math.ceil(iterations / validations), checkpoint_every=max(1, iterations // 4),
        log_every=max(1, iterations // 20),
    )  # fmt: skip


def _affordable(asked: Attempt, parts: Parts, config: RunConfig) -> int:
    """As many validations as are asked for, if they take less than a part of training, of which some may be dear: a
    task of an agent is hundreds of steps in an environment."""
    if asked.validations == 1:
        return 1
    params = initial_params(parts, config)
    for _ in range(2):  # the first one measures plans
        began = time.perf_counter()
        evaluate(parts.engine, params, parts.source, "val", _TIMED, compare_supports=False)
    each = (time.perf_counter() - began) * asked.episodes / _TIMED
    return max(1, min(asked.validations, math.floor(_VALIDATING * asked.seconds / each)))


def rate(config: RunConfig, parts: Parts, seconds: float) -> float:
    """Outer steps a second, by the median of some; the first ones, in which plans are measured, do not count. seconds:
    that training will take, of which some may be spent to know it."""
    few = replace(
        config, iterations=_MANY, schedule="none", schedule_options={}, average=0.0, log_every=1, validate_every=_MANY,
        checkpoint_every=_MANY, validation_episodes=2,
    )  # fmt: skip
    with TemporaryDirectory() as place:
        training = Training(parts, few, Path(place), lambda *_: None, limit=PROBE)
        while True:
            training.run(quiet=True)
            marks = [float(line["seconds"]) for line in read_metrics(Path(place)) if line["split"] == "train"]
            if len(marks) > 2 * _FIRST or training.limit > seconds / 3:
                break
            training.limit *= 2
    taken = [after - before for before, after in pairwise([0.0, *marks])]
    return 1 / median(taken[_FIRST:] or taken[-1:])

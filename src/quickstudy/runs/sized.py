"""The tasks of a run in another size than it was trained on, and what adapts to them."""

from __future__ import annotations

from dataclasses import replace

from quickstudy.engine import Engine
from quickstudy.errors import ConfigError, DataError
from quickstudy.learners import IterativeLearner, Learner
from quickstudy.runs.kept import is_kept
from quickstudy.runs.trained import Trained
from quickstudy.tasks.base import Sampling, Source


def sized(run: Trained, sampling: Sampling, steps: int | None, learner: Learner | None) -> tuple[Source, Engine]:
    """See `Run.sampled`."""
    if sampling.shots < 1:
        raise ConfigError(f"shots must be at least 1 to learn a task from, found {sampling.shots}.")
    if is_kept(run.folder):
        now, then = run.parts.source.spec, run.spec
        if now.format != then.format or not now.target.fits(then.target):
            raise DataError(
                f"The tasks are {now} today, but the run {run.folder} was trained on {then}, and they differ in their "
                "settings. Give it the data, the tokenizer or the tokens that it was trained with."
            )
    source = run.parts.source.sampled(sampling)
    learner = (learner or run.parts.engine.learner).at(source.spec)
    if steps is not None:
        if not isinstance(learner, IterativeLearner):
            raise ConfigError(f"The learner {run.config.learner.name!r} does not adapt in steps: leave --steps out.")
        learner = learner.with_steps(steps)
    return source, replace(run.parts.engine, learner=learner)

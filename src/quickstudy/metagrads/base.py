"""The contract of a meta-gradient estimator.

An estimator maps (learner, φ, one episode) to a `Score` whose `surrogate` is a scalar with the estimator's value of
∂L/∂φ as its gradient. The engine differentiates the sum over tasks once, so estimators never see a task axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from quickstudy.episode import Episode, Params
from quickstudy.errors import ConfigError
from quickstudy.learners.base import IterativeLearner, Learner


class Score(NamedTuple):
    """surrogate: its gradient is the estimate. loss, metric: of the query set, for people. All scalars."""

    surrogate: Tensor
    loss: Tensor
    metric: Tensor


Metagrad = Callable[[Learner, Params, Episode], Score]


def iterative(learner: Learner, params: Params, estimator: str) -> IterativeLearner:
    """The learner, if `estimator`, to which the inner loop is a constant, can train all of φ; a ConfigError if not."""
    if learner.pretrains:
        raise ConfigError(
            f"The estimator {estimator!r} needs a learner that adapts to training tasks, and {type(learner).__name__} "
            "trains by ordinary classification, without any. Use 'unrolled', which is its plain gradient."
        )
    if not isinstance(learner, IterativeLearner):
        raise ConfigError(
            f"The estimator {estimator!r} needs a learner that adapts in steps, and {type(learner).__name__} does "
            "not. Use 'unrolled', which is exact and costs such a learner nothing extra."
        )
    inside = learner.inside(params)
    if inside:
        name, remedy = next(iter(inside.items()))
        raise ConfigError(
            f"The estimator {estimator!r} treats the inner loop as a constant, so what acts only inside it would never "
            f"learn, and that is true of {name!r} or a part of it. Use 'unrolled', or {remedy}."
        )
    return learner

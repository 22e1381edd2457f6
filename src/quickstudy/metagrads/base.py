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


def refuse_learned_rates(params: Params, estimator: str) -> None:
    """A ConfigError if φ holds hyperparameters of the inner rule, which this estimator gives no gradient."""
    inside = [name for name in params if name.startswith("inner.")]
    if inside:
        raise ConfigError(
            f"The estimator {estimator!r} treats the inner loop as a constant, so {inside[0]!r}, which acts only "
            "inside it, would never learn. Use 'unrolled', or keep the inner rates fixed."
        )


def iterative(learner: Learner, estimator: str) -> IterativeLearner:
    """The learner, if it has `start` and `step`; a ConfigError otherwise."""
    if not isinstance(learner, IterativeLearner):
        raise ConfigError(
            f"The estimator {estimator!r} needs a learner that adapts in steps, and {type(learner).__name__} does "
            "not. Use 'unrolled', which is exact and costs such a learner nothing extra."
        )
    return learner

"""The estimate that looks back through the last inner steps only."""

from __future__ import annotations

from dataclasses import dataclass

from quickstudy.episode import Episode, Params, State
from quickstudy.errors import ConfigError
from quickstudy.learners.base import Learner
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.metagrads.base import ONE_TASK, Metagrad, Runner, Score, end, finished, iterative, steps_of


def shifted(start: State, end: State) -> State:
    """`end`, with the gradient of `start`: ψ₀ + constant. Counters and other integers are taken from `end`."""
    return {
        name: start[name] + (value - start[name]).detach() if value.is_floating_point() else value
        for name, value in end.items()
    }


def through_last(last: int, learner: IterativeLearner, params: Params, episode: Episode, runner: Runner) -> Score:
    """The score, of which the `last` inner steps are differentiated and the others shift ψ₀."""
    early = max(learner.steps - last, 0)

    def finish(params: Params, state: State, episode: Episode) -> Score:
        support, query = episode
        state = shifted(learner.start(params, support), state)
        for _ in range(learner.steps - early):
            state = learner.step(params, state, support)
        loss, metric = learner.judge(params, state, query)
        return Score(loss, loss, metric)

    state = end(learner, runner, params, episode.support, early)
    return finished(runner, finish, params, state, episode)


@dataclass(frozen=True)
class Truncated(Metagrad):
    """∂L/∂φ with ∂ψ_{K−last}/∂ψ₀ = I: truncated backpropagation (Shaban, Cheng, Hatch & Boots 2019).

    last: the number of inner steps that are differentiated, exactly. 0 is `first_order`; the number of inner steps, or
    more, is `unrolled`. Memory grows with `last`. What acts in every step, such as a learned rate, gets the gradient of
    its part in the last steps.
    """

    stepwise = True
    last: int = 1

    def __post_init__(self) -> None:
        if self.last < 0:
            raise ConfigError(
                f"The number of last inner steps to differentiate cannot be negative, found {self.last}. "
                "Choose 0 for the first-order estimate, or more."
            )

    def __call__(self, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK) -> Score:
        stepwise = steps_of(learner, "truncated") if self.last else iterative(learner, params, "truncated")
        early = stepwise.per_step(params) if self.last < stepwise.steps else {}
        if early:
            name, remedy = next(iter(early.items()))
            raise ConfigError(
                f"The estimator 'truncated' differentiates the last {self.last} of {stepwise.steps} inner steps, so "
                f"the parts of {name!r} that belong to earlier steps would never learn. Set last={stepwise.steps}, or "
                f"{remedy}."
            )
        return through_last(self.last, stepwise, params, episode, runner)

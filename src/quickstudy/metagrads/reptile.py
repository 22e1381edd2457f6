"""Reptile's update as a gradient: φ minus the parameters that training on the task ends at."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from quickstudy.episode import Episode, Examples, Params, State, joined
from quickstudy.errors import ConfigError
from quickstudy.learners.base import Learner
from quickstudy.metagrads.base import ONE_TASK, Metagrad, Runner, Score, end, finished, iterative


def _joined(params: Params, episode: Episode) -> Examples:
    """Support and query examples as one set: Reptile needs no split, so it trains on all that the task has."""
    return joined(*episode)


@dataclass(frozen=True)
class Reptile(Metagrad):
    """g = φ − ψ_K for all of φ, which the inner loop must move (Nichol, Achiam & Schulman 2018, algorithm 1).

    ψ_K is trained on support and query together. Loss and metric are of the query set after adapting to the support
    set alone, so that they mean the same as everywhere else.
    """

    stepwise = True

    def __call__(self, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK) -> Score:
        stepwise = iterative(learner, params, "reptile")
        names = [name for name in params if learner.moves(name)]

        def finish(params: Params, at_query: State, final: State, episode: Episode) -> Score:
            moved = stepwise.moved(final)
            _check_all_move(names, moved)
            loss, metric = stepwise.judge(params, at_query, episode.query)
            distance = [(params[name] - moved[name].detach()).square().sum() / 2 for name in names]
            return Score(torch.stack(distance).sum(), loss, metric)

        at_query = end(stepwise, runner, params, episode.support, stepwise.steps)
        final = end(stepwise, runner, params, runner.tasks(_joined)(params, episode), stepwise.steps)
        return finished(runner, finish, params, at_query, final, episode)


def _check_all_move(names: list[str], moved: Params) -> None:
    still = [name for name in names if name not in moved]
    if still:
        raise ConfigError(
            "The estimator 'reptile' moves φ to where the inner loop ends, but this learner's inner loop leaves "
            f"{len(still)} of {len(names)} trainable entries of φ where they are, such as {still[0]!r}: they would "
            "never learn. Use 'unrolled' or 'first_order', or a learner whose inner loop moves the whole network."
        )

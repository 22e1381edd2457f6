"""The first-order estimate: adaptation counts as a constant shift from where it started."""

from __future__ import annotations

from dataclasses import dataclass

from quickstudy import losses
from quickstudy.episode import Episode, Params, State
from quickstudy.learners.base import Learner
from quickstudy.metagrads.base import OneTask, Score, iterative


def shifted(start: State, end: State) -> State:
    """`end`, with the gradient of `start`: ψ₀ + constant. Counters and other integers are taken from `end`."""
    return {
        name: start[name] + (value - start[name]).detach() if value.is_floating_point() else value
        for name, value in end.items()
    }


@dataclass(frozen=True)
class FirstOrder(OneTask):
    """∂L/∂φ with ∂ψ_K/∂ψ₀ = I (FOMAML, Finn et al. 2017, section 5.2; Nichol et al. 2018, equation 24)."""

    def score(self, learner: Learner, params: Params, episode: Episode) -> Score:
        learner = iterative(learner, params, "first_order")
        fixed = {name: value.detach() for name, value in params.items()}
        state = shifted(learner.start(params, episode.support), learner.adapt(fixed, episode.support))
        prediction = learner.predict(params, state, episode.query.x)
        loss = losses.loss(prediction, episode.query, learner.spec)
        return Score(loss, loss.detach(), losses.metric(prediction, episode.query, learner.spec).detach())

"""The first-order estimate: adaptation counts as a constant shift from where it started."""

from __future__ import annotations

from dataclasses import dataclass

from quickstudy.episode import Episode, Params
from quickstudy.learners.base import Learner
from quickstudy.metagrads.base import ONE_TASK, Metagrad, Runner, Score, iterative
from quickstudy.metagrads.truncated import through_last


@dataclass(frozen=True)
class FirstOrder(Metagrad):
    """∂L/∂φ with ∂ψ_K/∂ψ₀ = I (FOMAML, Finn et al. 2017, section 5.2; Nichol et al. 2018, equation 24)."""

    stepwise = True

    def __call__(self, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK) -> Score:
        return through_last(0, iterative(learner, params, "first_order"), params, episode, runner)

"""The exact meta-gradient, by differentiating through the whole adaptation as one graph."""

from __future__ import annotations

from quickstudy.episode import Episode, Params
from quickstudy.learners.base import Learner
from quickstudy.metagrads.base import Score


def unrolled(learner: Learner, params: Params, episode: Episode) -> Score:
    """dL/dφ, second-order terms included. Memory grows with the number of inner steps."""
    loss, metric = learner.score(params, episode)
    return Score(loss, loss.detach(), metric.detach())

"""The exact meta-gradient, by differentiating through the whole adaptation as one graph."""

from __future__ import annotations

from dataclasses import dataclass

from quickstudy.episode import Episode, Params
from quickstudy.learners.base import Learner
from quickstudy.metagrads.base import OneTask, Score


@dataclass(frozen=True)
class Unrolled(OneTask):
    """dL/dφ, second-order terms included. Memory grows with the number of inner steps."""

    exact = True

    def score(self, learner: Learner, params: Params, episode: Episode) -> Score:
        loss, metric = learner.score(params, episode)
        return Score(loss, loss, metric)

"""Whether a learner that says how sure it is can be believed."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.episode import Episode, Params
from quickstudy.learners import ReaderLearner

LEVELS = tuple(level / 20 for level in range(1, 20))


def calibration(mean: Tensor, spread: Tensor, y: Tensor) -> list[float]:
    """How often targets y lie in the central intervals of LEVELS of normal distributions: the levels, if all is right.

    All of one shape. A learner that is too sure of itself stays below the levels.
    """
    away = ((y - mean) / spread).abs().flatten()
    widths = torch.special.ndtri(torch.tensor([0.5 + level / 2 for level in LEVELS], dtype=torch.float64))
    return [float((away <= width).double().mean()) for width in widths]


def says_how_sure(engine: Engine) -> bool:
    """Whether the engine's learner gives distributions of targets."""
    return isinstance(engine.learner, ReaderLearner) and engine.learner.spec.kind == "regression"


def distributions(engine: Engine, params: Params, episodes: Episode) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every query of these tasks, (T, n, *target), after adapting."""
    learner = engine.learner
    assert isinstance(learner, ReaderLearner)

    def one(episode: Episode) -> tuple[Tensor, ...]:
        return learner.distribution(params, learner.adapt(params, episode.support), episode.query.x)

    mean, spread = engine.map(one, episodes)
    return mean, spread

"""Whether a learner that says how sure it is can be believed."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.episode import Episode, Params, task
from quickstudy.learners import Learner

LEVELS = tuple(level / 20 for level in range(1, 20))


def calibration(mean: Tensor, spread: Tensor, y: Tensor) -> list[float]:
    """How often targets y lie in the central intervals of LEVELS of normal distributions: the levels, if all is right.

    All of one shape. A learner that is too sure of itself stays below the levels.
    """
    away = ((y - mean) / spread).abs().flatten()
    widths = torch.special.ndtri(torch.tensor([0.5 + level / 2 for level in LEVELS], dtype=torch.float64))
    return [float((away <= width).double().mean()) for width in widths]


def distributions(engine: Engine, params: Params, episodes: Episode) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation of every query of these tasks, (T, n, *label), after adapting.

    None from learners that do not say how sure they are.
    """
    learner = engine.learner.evaluated()
    if _said(learner, params, task(episodes, 0)) is None:
        return None

    def one(episode: Episode) -> tuple[Tensor, ...]:
        mean, spread = _said(learner, params, episode)  # type: ignore[misc]
        return mean, spread

    mean, spread = engine.map(one, episodes)
    return mean, spread


def _said(learner: Learner, params: Params, episode: Episode) -> tuple[Tensor, Tensor] | None:
    with torch.no_grad():
        said = learner.predictive(params, learner.adapt(params, episode.support), episode.query.x)
    return None if said is None or said.spread is None else (said.mean, said.spread)

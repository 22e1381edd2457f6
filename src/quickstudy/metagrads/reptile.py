"""Reptile's update as a gradient: φ minus the parameters that training on the task ends at."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import Episode, Examples, Features, Params
from quickstudy.errors import ConfigError
from quickstudy.learners.base import Learner
from quickstudy.learners.network import PARAMETER
from quickstudy.metagrads.base import Score, iterative, refuse_learned_rates


def _together(episode: Episode) -> Examples:
    """Support and query examples as one set: Reptile needs no split, so it trains on all that the task has."""

    def join(a: Features, b: Features) -> Features:
        if isinstance(a, dict) and isinstance(b, dict):
            return {name: torch.cat([a[name], b[name]]) for name in a}
        assert isinstance(a, Tensor)
        assert isinstance(b, Tensor)
        return torch.cat([a, b])

    support, query = episode
    return Examples(join(support.x, query.x), torch.cat([support.y, query.y]), torch.cat([support.mask, query.mask]))


def reptile(learner: Learner, params: Params, episode: Episode) -> Score:
    """g = φ − ψ_K for every parameter that the inner loop moves (Nichol, Achiam & Schulman 2018, algorithm 1).

    ψ_K is trained on support and query together. Loss and metric are of the query set after adapting to the support
    set alone, so that they mean the same as everywhere else.
    """
    learner = iterative(learner, "reptile")
    refuse_learned_rates(params, "reptile")
    fixed = {name: value.detach() for name, value in params.items()}
    loss, metric = learner.score(fixed, episode)
    end = learner.adapt(fixed, _together(episode))
    moved = {name: PARAMETER + name.removeprefix("task.") for name in end if name.startswith("task.")}
    if not any(name in params for name in moved.values()):
        raise ConfigError("Reptile averages task parameters, and this learner's inner loop moves none of φ.")
    distance = [
        (params[name] - end[task].detach()).square().sum() / 2 for task, name in moved.items() if name in params
    ]
    return Score(torch.stack(distance).sum(), loss.detach(), metric.detach())

"""Linear regression, where losses are quadratic and meta-gradients have closed forms."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from small_tasks import (
    episodes,
    gradient,
    numbers,
    requiring_grad,
)
from torch import Tensor, nn

from quickstudy.entries import trainable
from quickstudy.episode import Episode, Params
from quickstudy.learners import Learner
from quickstudy.metagrads import ONE_TASK, Runner, metagrad
from quickstudy.metagrads.base import Function

LINE = numbers((4,))
RATE = 0.2
EYE = torch.eye(4, dtype=torch.float64)


class Problem(NamedTuple):
    """An episode, weights w (4,), and (H, c) of its support and its query loss."""

    episode: Episode
    w: Tensor
    support: tuple[Tensor, Tensor]
    query: tuple[Tensor, Tensor]


def linear() -> nn.Linear:
    return nn.Linear(4, 1, bias=False).double()


def quadratic(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """H and c such that the mean squared error of the weights w has the gradient H w − c."""
    return 2 * x.T @ x / len(x), 2 * x.T @ y[:, 0] / len(x)


def line_problem() -> Problem:
    episode = episodes(LINE, tasks=None)
    (x, y, _), (query_x, query_y, _) = episode
    w = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return Problem(episode, w, quadratic(x, y), quadratic(query_x, query_y))  # type: ignore[arg-type]


class Batch(Runner):
    """Runs all tasks of a batch at once, and keeps what the function of one task gave for each of them."""

    def __init__(self, keys: Tensor | None = None) -> None:
        self.keys = keys
        self.each: Any = None

    def tasks(self, function: Function) -> Function:
        def all_tasks(params: Params, *rest: Any) -> Any:
            self.each = torch.func.vmap(function, in_dims=(None, *(0 for _ in rest)))(params, *rest)
            return self.each

        return all_tasks


def estimate(
    name: str, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK, **options: Any
) -> Params:
    """The estimate of one task (or of what the runner runs), by the estimator called `name`."""
    moving = requiring_grad({n: p for n, p in params.items() if trainable(n)})
    return gradient(metagrad(name, **options)(learner, params | moving, episode, runner).surrogate, moving)

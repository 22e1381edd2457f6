"""The engine decides how a learner runs; no learner knows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quickstudy.engine.norms import ElementaryNorms
from quickstudy.engine.precision import Precision, autocast
from quickstudy.engine.vectorize import Vectorize, over_tasks, resolve, tasks_of
from quickstudy.episode import Episode, Params
from quickstudy.errors import ConfigError
from quickstudy.learners import Learner
from quickstudy.learners.network import trainable
from quickstudy.metagrads import metagrad


@dataclass(frozen=True)
class Engine:
    """Meta-gradients and predictions of a learner over a batch of tasks.

    vectorize: 'vmap', 'loop', or 'auto'. precision: of the network's arithmetic. metagrad: the estimator; None takes
    the one the learner is defined with.
    """

    learner: Learner
    device: torch.device
    vectorize: Vectorize = "auto"
    precision: Precision = "float32"
    metagrad: str | None = None

    def __post_init__(self) -> None:
        metagrad(self.metagrad or self.learner.metagrad)  # refuses a name that does not exist, before anything runs
        if self.precision != "float32" and self.learner.network.inner_loop:
            raise ConfigError(
                f"precision {self.precision!r} is not offered for learners that take gradients inside the inner loop: "
                "their second derivatives would mix number formats. Use precision float32 with this learner."
            )

    def autocast(self) -> AbstractContextManager[None]:
        """Within it the network runs in the engine's precision."""
        return autocast(self.precision, self.device)

    @property
    def mode(self) -> Literal["vmap", "loop"]:
        return resolve(self.vectorize, self.learner, self.device)

    def gradients(self, params: Params, episodes: Episode) -> tuple[Params, Tensor, Tensor]:
        """Mean meta-gradient over the tasks for every trainable entry of φ, and each task's loss and metric (T,)."""
        estimate = metagrad(self.metagrad or self.learner.metagrad)
        moving = {n: p.detach().requires_grad_() for n, p in params.items() if trainable(n)}
        fixed = {n: p for n, p in params.items() if n not in moving}

        def score(episode: Episode) -> tuple[Tensor, ...]:
            return estimate(self.learner, moving | fixed, episode)

        def differentiate(surrogate: Tensor) -> tuple[Tensor, ...]:
            return torch.autograd.grad(surrogate, list(moving.values()), materialize_grads=True)

        with torch.enable_grad(), self.autocast():
            if self.mode == "vmap":
                with ElementaryNorms() if self.learner.network.inner_loop else nullcontext():
                    surrogates, losses, metrics = over_tasks(score, episodes, "vmap")
                grads = differentiate(surrogates.mean())
            else:
                count = len(episodes.query.y)
                sums, scores = [torch.zeros_like(p) for p in moving.values()], []
                for one in tasks_of(episodes):
                    surrogate, loss, metric = score(one)
                    torch._foreach_add_(sums, differentiate(surrogate / count))
                    scores.append((loss, metric))
                grads = tuple(sums)
                losses, metrics = (torch.stack(column) for column in zip(*scores, strict=True))
        return dict(zip(moving, grads, strict=True)), losses.detach(), metrics.detach()

    def map(self, function: Callable[[Episode], tuple[Tensor, ...]], episodes: Episode) -> tuple[Tensor, ...]:
        """`function` of every task, without gradients; each result has a leading task axis."""
        with torch.no_grad(), self.autocast():
            return over_tasks(function, episodes, self.mode)

    def predictions(self, params: Params, episodes: Episode) -> Tensor:
        """Query predictions after adapting, as learners do after training: (T, n, ways) or (T, n, *target)."""
        learner = self.learner.evaluated()

        def predict(episode: Episode) -> tuple[Tensor, ...]:
            return (learner.predict(params, learner.adapt(params, episode.support), episode.query.x),)

        return self.map(predict, episodes)[0]

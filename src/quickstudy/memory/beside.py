"""Whether memories are a better start than φ for a new task: by the examples of its support set, left out in turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.episode import Examples, Params
from quickstudy.learners.memory import MemoryLearner

_FOLDS = 5


@dataclass(frozen=True)
class Beside:
    """The loss of left-out support examples after starting from memories, and from φ; `count` of them were asked about.

    It is the loss of the headline's target, lower is better. count is 0 where none could be left out, as of classes of
    which there is one example: then nothing is known.
    """

    memory: float
    phi: float
    count: int

    @property
    def worse(self) -> bool:
        """Whether memories were the worse start; never than one that diverged."""
        return self.count > 0 and math.isfinite(self.phi) and not self.memory <= self.phi

    def __str__(self) -> str:
        if not self.count:
            return "not checked against φ: no support example can be left out"
        return f"loss of {self.count} left-out examples {self.memory:.3g}, and {self.phi:.3g} from φ"


def folds(support: Examples, learner: MemoryLearner) -> Tensor:
    """Which fold each support example (n,) belongs to; of classes, every fold has the k-th examples of all."""
    order = torch.arange(len(support.mask), device=support.mask.device)
    if learner.spec.target.relabels and support.y.dim() == 1:
        alike = (support.y[:, None] == support.y) & support.mask
        order = (alike & (order[None] < order[:, None])).sum(1)
    return order % min(_FOLDS, max(1, int(order[support.mask].max()) + 1))


def beside(learner: MemoryLearner, remembering: Params, params: Params, support: Examples) -> Beside:
    """Learn from the support set without each fold in turn, from memories (φ with them, `remembering`) and from φ alone
    (`params`), and ask about the fold."""
    fold, target = folds(support, learner), learner.spec.target
    losses: list[list[Tensor]] = [[], []]
    for one in sorted(set(fold[support.mask].tolist())):
        rest = support._replace(mask=support.mask & (fold != one))
        asked = support._replace(mask=support.mask & (fold == one))
        if not bool(rest.mask.any()):
            continue
        known = target.answerable(_one(rest), _one(asked))[0]
        for found, start in zip(losses, (remembering, params), strict=True):
            said = learner.predict(start, learner.adapt(start, rest), support.x)
            found.append(target.losses(said[known], support.y[known]))
    memory, own = (torch.cat(found) if found else torch.zeros(0) for found in losses)
    return Beside(float(memory.mean()), float(own.mean()), len(memory)) if len(memory) else Beside(0.0, 0.0, 0)


def _one(examples: Examples) -> Examples:
    """The labels and mask with a task axis."""
    return Examples(examples.y[None], examples.y[None], examples.mask[None])

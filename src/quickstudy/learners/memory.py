"""Learning a task from what was learned on similar ones: ψ starts from the nearest memories instead of from φ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.entries import CENTRE, DESCRIPTORS, METRIC, SOLVED, SPREAD, prefixed, with_prefix
from quickstudy.episode import Episode, Examples, Params, State
from quickstudy.errors import ConfigError, ModelError
from quickstudy.hints import Size, Steps
from quickstudy.inner import EVERYTHING
from quickstudy.learners.base import Learner
from quickstudy.learners.descent import begin
from quickstudy.learners.describe import Describe, describe, fit_head, head_names
from quickstudy.learners.gradient import GradientLearner
from quickstudy.learners.maml_family import RuleName, maml
from quickstudy.learners.network import Norm
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec

Recall = Literal["average", "best"]
"""What ψ starts from: the average of the nearest memories, weighted by closeness, or the best by support loss."""
_SHARPNESS = 10.0  # of the weights of an average: a memory closer by 0.1 counts e times as much


@dataclass(frozen=True, kw_only=True)
class MemoryLearner(GradientLearner):
    """ψ₀ is recalled: of the memories in φ, the `nearest` by the cosine of descriptions, or φ where none is near.

    The memories are entries of φ that no optimizer moves: 'memory.descriptors' (M, D) and 'memory.task.<parameter>'
    (M, …), put there by `remembering`. describe: how tasks are described, by the frozen network at φ. near: the least
    cosine at which a memory counts as similar. A classification head is always fitted to the support set in closed
    form: what an old task called class 0 means nothing to a new one, and so tasks may have any number of ways.
    State: as in GradientLearner, with 'recalled' (k,) int64, the memories' numbers (−1: φ), and 'closeness' (k,).
    """

    recall: Recall = "average"
    nearest: int = 5
    near: float = 0.0
    describe: Describe = "features"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nearest < 1 or not -1 <= self.near <= 1:
            raise ConfigError(
                f"nearest must be at least 1 and near a cosine in [-1, 1], found {self.nearest} and {self.near}."
            )
        if self.partition != EVERYTHING or self.proximal or self.learn_rates:
            raise ConfigError("Memories are of whole networks at fixed rates: leave partition, proximal and rates out.")
        if self._refits:
            head_names(self.network)
        if self.describe == "task2vec" and self.network.transductive:
            raise ModelError(
                "Task2Vec looks at one example at a time, and this network's BatchNorm normalises by the batch. "
                "Describe tasks by their 'features', or replace the layers by nn.GroupNorm."
            )

    @property
    def _refits(self) -> bool:
        """Whether the head is fitted anew to each task, since what an old task called class 0 means nothing to it."""
        return self.spec.target.relabels

    @classmethod
    def around(cls, learner: Learner, **options: object) -> MemoryLearner:
        """A memory learner with the network, inner rule and steps of `learner`. Raises ConfigError if it has none."""
        if isinstance(learner, MemoryLearner):
            return replace(learner, **options)  # type: ignore[arg-type]
        if not isinstance(learner, GradientLearner):
            raise ConfigError(
                f"A memory holds the parameters that a gradient learner ends at, and {type(learner).__name__} has no "
                "such parameters. Use a run of maml, fomaml, reptile or memory."
            )
        if learner.partition != EVERYTHING:
            raise ConfigError(
                "Memories are of whole networks, but this learner's inner loop moves parts: leave inner out."
            )
        return cls(
            network=learner.network,
            spec=learner.spec,
            rule=learner.rule,
            steps=learner.steps,
            eval_steps=learner.eval_steps,
            **options,  # type: ignore[arg-type]
        )

    def at(self, spec: TaskSpec) -> MemoryLearner:
        if not spec.target.relabels:
            super().at(spec)  # refuses what the network does not fit
        return replace(self, spec=spec)

    def _check_outputs(self, shape: tuple[int, ...]) -> None:
        if not self._refits:  # else it has as many outputs as are needed
            super()._check_outputs(shape)

    def calibrate(self, params: Params, episodes: list[Episode]) -> Params:
        """Also the mean and the spread of descriptions over `episodes`, against which all are measured; both stay where
        there is one episode, which has no spread."""
        params = super().calibrate(params, episodes)
        if len(episodes) < 2:
            return params
        params = {name: v for name, v in params.items() if name not in (CENTRE, SPREAD)}
        with torch.no_grad():
            descriptions = torch.stack([self.description(params, episode.support) for episode in episodes])
        return params | {CENTRE: descriptions.mean(0), SPREAD: descriptions.std(0).clamp(min=1e-6)}

    def description(self, params: Params, support: Examples) -> Tensor:
        """(D,): what the task is like; see `quickstudy.learners.describe`."""
        description = describe(self.describe, self.network, params, support, self.spec)
        return (description - params[CENTRE]) / params[SPREAD] if CENTRE in params else description

    def asked(self, params: Params, description: Tensor) -> Tensor:
        """(D,): the description as memories are compared with it: weighted, where a distance was learned."""
        return description * params[METRIC] if METRIC in params else description

    def body(self, task: Params) -> Params:
        """What is recalled of a task's parameters: all, but for a classification head."""
        if not self._refits:
            return task
        return {name: value for name, value in task.items() if name not in head_names(self.network)}

    def remembering(self, params: Params, descriptors: Tensor, tasks: Sequence[Params]) -> Params:
        """φ with these memories in place of any others. descriptors (M, D); tasks: parameters without prefix, M."""
        forgotten = {n: v for n, v in params.items() if n != DESCRIPTORS and not n.startswith(SOLVED)}
        if not tasks:
            return forgotten
        bodies = [self.body(task) for task in tasks]
        stacked = {name: torch.stack([body[name] for body in bodies]) for name in bodies[0]}
        return forgotten | {DESCRIPTORS: descriptors} | with_prefix(SOLVED, stacked)

    def start(self, params: Params, support: Examples) -> State:
        base = self.body(self._movable(params))
        count = torch.zeros((), dtype=torch.int64, device=support.mask.device)
        if DESCRIPTORS in params:
            task, recalled, closeness = self._recalled(params, support, base)
        else:
            task, recalled, closeness = base, count[None] - 1, torch.zeros(1, device=count.device)
        state = begin(self.rule, task | self._head(params, task, support))
        return state | {"count": count, "recalled": recalled, "closeness": closeness}

    def _head(self, params: Params, task: Params, support: Examples) -> Params:
        return fit_head(self.network, params, task, support, self.spec) if self._refits else {}

    def _recalled(self, params: Params, support: Examples, base: Params) -> tuple[Params, Tensor, Tensor]:
        """Where ψ starts, from which memories, and how close they are."""
        asked = self.asked(params, self.description(params, support))
        cosines = F.cosine_similarity(asked[None], params[DESCRIPTORS].to(asked), dim=1)
        closeness, nearest = cosines.topk(min(self.nearest, len(cosines)))
        candidates = {name: value.index_select(0, nearest) for name, value in prefixed(SOLVED, params).items()}
        similar = closeness >= self.near
        if self.recall == "average":
            weights = torch.where(similar, _SHARPNESS * closeness, -torch.inf).softmax(0).nan_to_num()
            memory = {n: torch.tensordot(weights.to(value), value, 1) for n, value in candidates.items()}
            used = similar
        else:
            failed = torch.stack([self._failure(params, candidates, i, support) for i in range(len(nearest))])
            best = torch.where(similar, failed, torch.inf).argmin()
            memory = {name: value.index_select(0, best[None])[0] for name, value in candidates.items()}
            used = similar & (torch.arange(len(nearest), device=best.device) == best)
        some = similar.any()
        task = {name: torch.where(some, memory[name].to(value), value) for name, value in base.items()}
        return task, torch.where(used, nearest, -1), closeness

    def _failure(self, params: Params, candidates: Params, index: int, support: Examples) -> Tensor:
        """The support loss from memory `index` of the candidates, its head fitted."""
        task = {name: value[index] for name, value in candidates.items()}
        task = task | self._head(params, task, support)
        return self.spec.target.loss(self.network(params, support.x, task), support)


@learners.register("memory", head=True)
def memory(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: Steps = 5,
    eval_steps: Steps | None = None,
    recall: Recall = "average",
    nearest: Size = 5,
    near: float = 0.0,
    describe: Describe = "features",
    rule: RuleName = "sgd",
    norm: Norm = "running",
) -> MemoryLearner:
    """Memory: inner steps from the nearest of the tasks solved before, or from φ; a head fitted in closed form.

    module: any network that ends in a linear layer.
    lr, steps: rate and number of inner steps. eval_steps: steps after training; as many as `steps` if not given.
    recall: 'average' of the `nearest` memories, or the 'best' of them by support loss. nearest: how many memories are
    looked at. near: the least similarity, a cosine, at which a memory is used.
    describe: what tasks are compared by: statistics of the network's 'features', or 'task2vec'.
    rule: how the inner loop moves.
    norm: what BatchNorm layers normalise by: the 'batch' at hand, or averages over training tasks 'per_step'.
    """
    plain = maml(module, spec, lr=lr, steps=steps, eval_steps=eval_steps, rule=rule, norm=norm)
    plain.network.find_head(spec.format)
    return MemoryLearner.around(plain, recall=recall, nearest=nearest, near=near, describe=describe)

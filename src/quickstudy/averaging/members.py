"""What one member does in a round: train a copy of φ on its own part of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from quickstudy import rng
from quickstudy.brief import Brief
from quickstudy.entries import PARAMETER, with_prefix
from quickstudy.episode import Examples, Params, State
from quickstudy.errors import ConfigError, DataError, ModelError
from quickstudy.inner import Rule
from quickstudy.learners.descent import begin, descend, task_parameters
from quickstudy.learners.network import Network
from quickstudy.spec import TaskSpec


class Member(ABC):
    """Trains copies of φ on parts of the data. It is sent to other processes, so it must pickle."""

    @property
    @abstractmethod
    def sizes(self) -> list[int]:
        """How many examples each part has: the weight of its member in the average."""

    @abstractmethod
    def __call__(self, params: Params, part: int, turn: int) -> Params:
        """φ after training on part `part` in round `turn`; a pure function of its arguments."""

    def only(self, part: int) -> Member:
        """What is sent to the process that trains `part`: with no more data than that, where it can be left out."""
        return self

    def together(self, params: Params, parts: Sequence[int], turn: int) -> list[Params]:
        """The same for several parts at once, vectorised. Raises ConfigError where that cannot be done."""
        raise ConfigError(f"{type(self).__name__} cannot be vectorised: choose backend='loop' or 'processes'.")


@dataclass(frozen=True, eq=False)
class Supervised(Brief, Member):
    """Ordinary training of a network on the examples of a part.

    x (n, *features), y: all examples. parts: the indices of each part. rule: the inner rule, such as SGD(lr=0.1); its
    state begins anew in each round. epochs, batch: of one round; batch=None takes the whole part at once, so that
    epochs=1 is synchronous SGD (FedSGD), and more is local SGD (FedAvg, McMahan et al. 2017).
    """

    network: Network
    spec: TaskSpec
    rule: Rule
    x: Tensor
    y: Tensor
    parts: tuple[Tensor, ...]
    epochs: int = 1
    batch: int | None = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.batch is not None and self.batch < 1):
            raise ConfigError(f"epochs and batch must be at least 1, found {self.epochs} and {self.batch}.")
        if len(self.x) != len(self.y):
            raise DataError(f"There are {len(self.x)} inputs but {len(self.y)} targets. Give one for each.")
        if any(isinstance(layer, _BatchNorm) for layer in self.network.module.modules()):
            raise ModelError(
                "The network has BatchNorm layers, whose statistics would mix a part's examples with padding and "
                "differ from part to part. Replace them by nn.GroupNorm; in our models, norm_layer='group'."
            )
        empty = [index for index, part in enumerate(self.parts) if not len(part)]
        if empty:
            raise DataError(f"Part {empty[0]} has no examples. Leave it out; `split` does.")

    @property
    def sizes(self) -> list[int]:
        return [len(part) for part in self.parts]

    def only(self, part: int) -> Supervised:
        mine = self.parts[part]
        here = tuple(torch.arange(len(mine)) if index == part else torch.zeros(1).long() for index in range(part + 1))
        return replace(self, x=self.x[mine], y=self.y[mine], parts=here)

    def schedule(self, part: int, turn: int) -> tuple[Tensor, Tensor]:
        """Which examples of the data each step of a round sees, (steps, batch) indices, and which of them count."""
        mine = self.parts[part]
        size = min(self.batch or len(mine), len(mine))
        steps = -(-len(mine) // size)
        generator = torch.Generator().manual_seed(int(rng.key(self.seed, "member", part, turn)))
        indices = torch.zeros((self.epochs, steps * size), dtype=torch.int64)
        for epoch in range(self.epochs):
            indices[epoch, : len(mine)] = mine[torch.randperm(len(mine), generator=generator)]
        counts = (torch.arange(steps * size) < len(mine)).expand(self.epochs, -1)
        return indices.view(-1, size), counts.reshape(-1, size)

    def _step(self, params: Params, state: State, x: Tensor, y: Tensor, mask: Tensor) -> State:
        """One step of the rule on one batch."""

        def loss(task: Params, shared: Params) -> Tensor:
            return self.spec.target.loss(self.network(shared, x, task), Examples(x, y, mask))

        return descend(self.rule, state, loss, params)

    def __call__(self, params: Params, part: int, turn: int) -> Params:
        state = begin(self.rule, self.network.movable(params))
        for indices, mask in zip(*self.schedule(part, turn), strict=True):
            state = self._step(params, state, self.x[indices], self.y[indices], mask.to(self.x.device))
        return params | with_prefix(PARAMETER, task_parameters(state))

    def together(self, params: Params, parts: Sequence[int], turn: int) -> list[Params]:
        schedules = [self.schedule(part, turn) for part in parts]
        steps, size = (max(indices.shape[axis] for indices, _ in schedules) for axis in (0, 1))
        indices = torch.zeros((len(parts), steps, size), dtype=torch.int64)
        mask = torch.zeros_like(indices, dtype=torch.bool)
        for row, (own, counts) in enumerate(schedules):
            indices[row, : own.shape[0], : own.shape[1]] = own
            mask[row, : own.shape[0], : own.shape[1]] = counts
        going = mask.any(dim=2)  # members whose parts are small have done all their steps before the others
        indices, mask = indices.to(self.x.device), mask.to(self.x.device)
        start = begin(self.rule, self.network.movable(params))
        state = {name: value.expand(len(parts), *value.shape) for name, value in start.items()}
        for step in range(steps):
            at = indices[:, step]
            after = self._many(params, state, self.x[at], self.y[at], mask[:, step])
            state = after if bool(going[:, step].all()) else _chosen(going[:, step], after, state)
        moved = task_parameters(state)
        return [params | with_prefix(PARAMETER, {n: v[row] for n, v in moved.items()}) for row in range(len(parts))]

    @cached_property
    def _many(self) -> Callable[..., State]:
        return torch.func.vmap(self._step, in_dims=(None, 0, 0, 0, 0))


def _chosen(which: Tensor, one: State, other: State) -> State:
    """The rows of `one` where `which` (M,), else those of `other`."""
    which = which.to(next(iter(one.values())).device)
    return {n: torch.where(which.view(-1, *(1 for _ in v.shape[1:])), v, other[n]) for n, v in one.items()}

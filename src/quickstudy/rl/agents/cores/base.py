"""The contract of a core: what an agent remembers with, from one step to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

Memory = dict[str, Tensor]
"""What is remembered, by name: tensors of a fixed size, (…) of one lane or (n, …) of n lanes."""


class Core(nn.Module, ABC):
    """Takes in steps, and says of each what it makes of it and of those that it remembers.

    features, width: how many numbers enter and leave at a step. Before the first step all of its memory is 0.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features, self.width = features, width

    @property
    @abstractmethod
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The tensors of one lane's memory, by name."""

    @abstractmethod
    def step(self, z: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """One step in each of n lanes: (n, width) for z (n, features), and the memory after it."""

    @abstractmethod
    def sequence(self, z: Tensor, memory: Memory, count: Tensor) -> tuple[Tensor, Memory]:
        """The steps of one lane in their order: (T, width) for z (T, features), as `step` says it one by one, and the
        memory after the first `count` () of them; those behind are padding. The memory before is a constant: gradients
        reach z and the weights, once."""


def after(count: Tensor, states: Tensor, begin: Tensor) -> Tensor:
    """The one of states (T, …), those after each step, that is there after `count` () steps; `begin` (…) after none."""
    last = states.index_select(0, (count - 1).clamp(min=0).view(1))[0]
    return last.where(count > 0, begin)

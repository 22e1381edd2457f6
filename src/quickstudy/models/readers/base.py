"""The contract of a reader: a network that is itself the learning algorithm."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from quickstudy.entries import READ, prefixed
from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError
from quickstudy.formats.base import Format
from quickstudy.formats.passing import arguments, nothing_for


class Reader(nn.Module, ABC):
    """Reads a support set, and answers for queries from what it has read.

    Everything goes through `forward`, so that a reader is a pure function of its parameters like any other network.
    encoder: any module, (n, *features) to (n, D). inputs: how many numbers describe a target: the most classes there
    can be, or the size of a regression target. outputs: how many numbers the answer to one query has.
    """

    ordered: ClassVar[bool] = False
    """Whether the order of the examples matters."""

    def __init__(self, encoder: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.encoder, self.inputs, self.outputs = encoder, inputs, outputs

    @abstractmethod
    def read(self, z: Tensor, y: Tensor, mask: Tensor) -> State:
        """What is known after the support set: z (n, D) embedded, y (n, inputs) targets or one-hot, mask (n,) bool."""

    @abstractmethod
    def answer(self, state: State, z: Tensor) -> Tensor:
        """(m, outputs) for embedded queries z (m, D), each by itself."""

    def embed(self, x: Features) -> Tensor:
        given, named = arguments(self.encoder, x)
        z: Tensor = self.encoder(*given, **named)
        return z.flatten(1)

    def forward(self, request: dict[str, Any]) -> Any:
        """The state after {'x', 'y', 'mask'}, or the answer to {'query', 'state.<name>'}."""
        if "query" in request:
            return self.answer(prefixed(READ, request), self.embed(request["query"]))
        y = torch.where(request["mask"][:, None], request["y"], 0.0)
        return self.read(self.embed(request["x"]), y, request["mask"])


class Learned(nn.Module):
    """A tensor of parameters as a module of its own, so that drawing φ anew draws it too. scale: standard deviation."""

    def __init__(self, *shape: int, scale: float = 0.02, mean: float = 0.0) -> None:
        super().__init__()
        self.scale, self.mean = scale, mean
        self.value = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.value, self.mean, self.scale)

    def forward(self) -> Tensor:
        return self.value


def perceptron(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes with GELU between them."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers += [nn.GELU()] if index else []
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


def features_of(encoder: nn.Module, format: Format) -> int:
    """How many numbers the encoder gives for one input of this format."""
    return math.prod(shape_of(encoder, format))


def shape_of(encoder: nn.Module, format: Format) -> tuple[int, ...]:
    """The shape of what the encoder gives for one input of this format."""
    copied = copy.deepcopy(encoder).to("cpu").eval()  # the user's module is never changed
    given, named = arguments(copied, nothing_for(copied, format, 2))
    with torch.no_grad():
        return tuple(copied(*given, **named).shape[1:])


def at_least_one(**sizes: int) -> None:
    """ConfigError for a size of a network that is below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name} must be at least 1, found {size}.")

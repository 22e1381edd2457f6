"""Layers from an embedding to classes: over all training classes while pretraining, and anew for each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples, Params
from quickstudy.errors import ConfigError
from quickstudy.heads import full_precision
from quickstudy.masked import class_means


def _drawn(size: int, classes: int, generator: torch.Generator) -> Tensor:
    bound: float = size**-0.5
    return (torch.rand((classes, size), generator=generator) * 2 - 1) * bound


class Classifier(ABC):
    """Logits (n, N) for embeddings z (n, D) from a layer's parameters."""

    @abstractmethod
    def init(self, size: int, classes: int, generator: torch.Generator) -> Params:
        """A fresh layer from `size` features to `classes`, drawn from `generator`."""

    @abstractmethod
    def new(self, z: Tensor, support: Examples, ways: int) -> Params:
        """The layer that training on a task's embedded support set z (n, D) begins with."""

    @abstractmethod
    def logits(self, layer: Params, z: Tensor) -> Tensor:
        """(n, N), in float32 at least."""


@dataclass(frozen=True)
class Linear(Classifier):
    """Weights and biases; zero for a new task."""

    def init(self, size: int, classes: int, generator: torch.Generator) -> Params:
        return {"weight": _drawn(size, classes, generator), "bias": torch.zeros(classes)}

    def new(self, z: Tensor, support: Examples, ways: int) -> Params:
        weight = z.new_zeros((ways, z.shape[1]))
        return {"weight": weight, "bias": weight[:, 0]}

    def logits(self, layer: Params, z: Tensor) -> Tensor:
        with full_precision(z) as z:
            return F.linear(z, layer["weight"], layer["bias"])


@dataclass(frozen=True)
class Cosine(Classifier):
    """τ cos(z, w_c), which counts directions alone, so that classes vary less within (Baseline++, Chen et al. 2019).

    For a new task w_c begins as the mean direction of class c (Qi, Brown & Lowe 2018); of all, for a class without
    support. temperature: τ.
    """

    temperature: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"The temperature must be positive and finite, found {self.temperature}.")

    def init(self, size: int, classes: int, generator: torch.Generator) -> Params:
        return {"weight": _drawn(size, classes, generator)}

    def new(self, z: Tensor, support: Examples, ways: int) -> Params:
        unit = F.normalize(z, dim=1)
        means, present = class_means(unit, support, ways)
        every = (unit * support.mask[:, None]).sum(0) / support.mask.sum().clamp(min=1)
        return {"weight": torch.where(present[:, None], means, every)}

    def logits(self, layer: Params, z: Tensor) -> Tensor:
        with full_precision(z) as z:
            return self.temperature * F.normalize(z, dim=1) @ F.normalize(layer["weight"], dim=1).T

"""Distributions of functions to minimise: what a learned optimizer trains on, and is measured on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Params
from quickstudy.errors import ConfigError


class Problems(ABC):
    """A distribution of functions of a few named parameters. A function is the same whenever its key is."""

    @abstractmethod
    def draw(self, keys: Tensor) -> tuple[Params, Params]:
        """Of a function for each of `keys` (T,): its data, and the parameters to start from; leading axis T."""

    @abstractmethod
    def loss(self, params: Params, data: Params) -> Tensor:
        """The value of one function: a scalar."""

    def losses(self, params: Params, data: Params) -> Tensor:
        """The values of T functions (T,), each at its own parameters."""
        values: Tensor = torch.func.vmap(self.loss)(params, data)
        return values


@dataclass(frozen=True)
class Quadratics(Problems):
    """‖Wθ − y‖², with W (size, size) and y standard normal and θ near 0 (Andrychowicz et al. 2016, section 3.1)."""

    size: int = 10
    start: float = 0.01

    def draw(self, keys: Tensor) -> tuple[Params, Params]:
        matrix, target, start = rng.split(keys, 3).unbind(-1)
        data = {"matrix": rng.normal(matrix, (self.size, self.size)), "target": rng.normal(target, (self.size,))}
        return data, {"theta": self.start * rng.normal(start, (self.size,))}

    def loss(self, params: Params, data: Params) -> Tensor:
        return (data["matrix"] @ params["theta"] - data["target"]).square().sum()


@dataclass(frozen=True)
class Classifiers(Problems):
    """Perceptrons with one hidden layer on random data sets: cross-entropy over all examples, by natural logarithm.

    A class is two clusters in `inputs` dimensions whose centres are standard normal; examples lie around them with
    standard deviation `noise`. width: of the hidden layer (ReLU); weights start with deviation √(2 / inputs), He's, and
    biases at 0.
    """

    width: int = 16
    inputs: int = 8
    classes: int = 4
    examples: int = 64
    noise: float = 0.8

    def draw(self, keys: Tensor) -> tuple[Params, Params]:
        centre, cluster, noise, first, second = rng.split(keys, 5).unbind(-1)
        centres = rng.normal(centre, (2 * self.classes, self.inputs))
        own = rng.integers(cluster, 2 * self.classes, (self.examples,))
        around = self.noise * rng.normal(noise, (self.examples, self.inputs))
        x = centres.gather(-2, own[..., None].expand(*own.shape, self.inputs)) + around
        params = {
            "first.weight": rng.normal(first, (self.inputs, self.width)) * (2 / self.inputs) ** 0.5,
            "first.bias": x.new_zeros((*keys.shape, self.width)),
            "second.weight": rng.normal(second, (self.width, self.classes)) * (2 / self.width) ** 0.5,
            "second.bias": x.new_zeros((*keys.shape, self.classes)),
        }
        return {"x": x, "y": own % self.classes}, params

    def loss(self, params: Params, data: Params) -> Tensor:
        hidden = torch.relu(data["x"] @ params["first.weight"] + params["first.bias"])
        return F.cross_entropy(hidden @ params["second.weight"] + params["second.bias"], data["y"])


Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


def curves(make: Make, problems: Problems, keys: Tensor, steps: int) -> Tensor:
    """The losses of T functions before the first step and after each: (T, steps + 1), on the device of `keys` (T,).

    make: what makes an optimizer of parameters, such as `lambda params: torch.optim.Adam(params, lr=0.1)`. It must
    move every coordinate on its own, since the T functions are minimised as one tensor of each name.
    """
    if steps < 1:
        raise ConfigError(f"At least 1 step is needed, found {steps}.")
    data, start = problems.draw(keys)
    params = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = make(params.values())
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.enable_grad():
            values = problems.losses(params, data)
            values.sum().backward()  # type: ignore[no-untyped-call]
        losses.append(values.detach())
        optimizer.step()
    with torch.no_grad():
        losses.append(problems.losses(params, data))
    return torch.stack(losses, dim=1)

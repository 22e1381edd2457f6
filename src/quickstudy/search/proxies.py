"""What networks look like before any training: scores that cost a forward pass, and describe points of a space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from quickstudy.episode import Features, leaves, map_features
from quickstudy.errors import ConfigError, DataError
from quickstudy.search.timing import operations
from quickstudy.space import Array, Describe, Values

_KINDS = (nn.ReLU, nn.ReLU6)


def codes(network: nn.Module, x: Features) -> float:
    """How well a network tells n examples x (n, …) apart by which of its rectifiers they pass: log |det K|, where K_ij
    is how many rectifiers treat i and j alike (Mellor et al. 2021, "Neural architecture search without training").

    −∞ where two examples pass the same ones. Raises ConfigError for a network without ReLU modules, DataError for
    fewer than two examples.

    >>> network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    >>> _ = network[0].weight.data.copy_(torch.eye(2))
    >>> round(math.exp(codes(network, torch.tensor([[1.0, 1.0], [1.0, -1.0]]))), 6)
    3.0
    """
    count = len(leaves(x)[0])
    if count < 2:
        raise DataError(f"Networks are told by how they tell examples apart, found {count}. Give two or more.")
    kernel = torch.zeros(count, count, dtype=torch.float64)

    def look(_: nn.Module, given: tuple[Tensor, ...], __: Tensor) -> None:
        passes = (given[0].flatten(1) > 0).double().cpu()
        kernel.add_(passes @ passes.T + (1 - passes) @ (1 - passes).T)

    layers = [layer for layer in network.modules() if isinstance(layer, _KINDS)]
    if not layers:
        raise ConfigError(f"{type(network).__name__} has no ReLU modules to look at. Take another description of it.")
    handles = [layer.register_forward_hook(look) for layer in layers]
    before = network.training
    try:
        with torch.no_grad():
            network.train()(x)
    finally:
        network.train(before)
        for handle in handles:
            handle.remove()
    sign, size = torch.linalg.slogdet(kernel)
    return float(size) if sign > 0 else -math.inf


def flow(network: nn.Module, example: Features) -> float:
    """How much of a network's weights reach its outputs: log Σ θ ∂R/∂θ with every weight replaced by its size, and R
    the sum of what it says of an example (1, …) of ones (Tanaka et al. 2020, "Pruning without any data").

    −∞ where nothing does. It looks at the network in `eval()` mode, with numbers of 64 bits; the network stays as it
    is.

    >>> network = nn.Linear(2, 1, bias=False)
    >>> _ = network.weight.data.copy_(torch.tensor([[-1.0, 2.0]]))
    >>> round(math.exp(flow(network, torch.zeros(1, 2))), 6)
    3.0
    """
    sizes = {name: value.detach().abs().double().requires_grad_() for name, value in network.named_parameters()}
    rest = {name: value.double() if value.is_floating_point() else value for name, value in network.named_buffers()}
    x = map_features(lambda leaf: torch.ones_like(leaf, dtype=torch.float64), example)
    before = network.training
    try:
        said = torch.func.functional_call(network.eval(), {**sizes, **rest}, (x,))
    finally:
        network.train(before)
    grads = torch.autograd.grad(said.sum(), list(sizes.values()), allow_unused=True)
    total = sum(
        float((size * grad).detach().sum())
        for size, grad in zip(sizes.values(), grads, strict=True)
        if grad is not None
    )
    return math.log(total) if total > 0 else -math.inf


def proxies(build: Callable[[Values], nn.Module], x: Features) -> Describe:
    """A description of points by their networks as they are built, for `Space.described`: `codes` of examples x
    (n, …), `flow`, and the logarithms of parameters and operations. What is −∞ is put below all others.

    build: from a point to its network, with weights as they are drawn; by the same seed, if points are to look the same
    each time. A strategy that learns from descriptions, such as `predicted`, then sees them instead of the options.
    """

    def describe(points: Sequence[Values]) -> Array:
        rows = []
        first = map_features(lambda leaf: leaf[:1], x)
        for point in points:
            network = build(point)
            size = sum(p.numel() for p in network.parameters())
            rows.append(
                (codes(network, x), flow(network, first), math.log1p(size), math.log1p(operations(network, first)))
            )
        table = np.array(rows, dtype=np.float64).reshape(len(points), 4)
        for column in table.T:
            known = np.isfinite(column)
            column[~known] = column[known].min() - 1 if known.any() else 0.0
        return table

    return describe

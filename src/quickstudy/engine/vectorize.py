"""Running a function of one task over many: at once with `vmap`, or one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from quickstudy.episode import Episode, Params, task
from quickstudy.learners import Learner, Network
from quickstudy.learners.copies import is_foreign
from quickstudy.learners.probe import vmaps, vmaps_learning

Gradients = tuple[Params, Tensor, Tensor]
"""The meta-gradient of some tasks, and the loss and the metric of each (T,)."""
Vectorize = Literal["auto", "vmap", "loop"]
T = TypeVar("T", bound=tuple[Tensor, ...])


def tasks_of(episodes: Episode) -> Iterator[Episode]:
    """The tasks of a batch, one by one, without the task axis."""
    for index in range(len(episodes.query.y)):
        yield task(episodes, index)


def over_tasks(function: Callable[[Episode], T], episodes: Episode, mode: Literal["vmap", "loop"]) -> T:
    """`function` of every task: a tuple of tensors, each with a leading task axis."""
    if mode == "vmap":
        return torch.func.vmap(function)(episodes)
    results = [function(one) for one in tasks_of(episodes)]
    return tuple(torch.stack(column) for column in zip(*results, strict=True))  # type: ignore[return-value]


def resolve(mode: Vectorize, learner: Learner, device: torch.device) -> Literal["vmap", "loop"]:
    """What 'auto' means for this learner on this device.

    On a CPU, `vmap` turns the convolutions of many tasks into grouped convolutions and batch normalisation into a slow
    general form; one task after another is faster. Everything else gains from `vmap`, but for networks that it cannot
    follow: those with layers of others are tried.
    """
    if mode != "auto":
        return mode
    if convolves(learner) and device.type == "cpu":
        return "loop"
    others = [network for network in learner.networks.values() if network is not learner.network]
    follows = _ours(learner.network) or vmaps(learner.network, learner.spec.format)
    return "vmap" if follows and all(_ours(other) or vmaps_learning(learner) for other in others) else "loop"


def _ours(network: Network) -> bool:
    """Whether the network has layers of PyTorch and quickstudy only, which `vmap` is known to follow."""
    return not any(map(is_foreign, network.module.modules()))


def convolves(learner: Learner) -> bool:
    """Whether a network of the learner's has convolutions."""
    layers = (layer for network in learner.networks.values() for layer in network.module.modules())
    return any(isinstance(layer, nn.modules.conv._ConvNd) for layer in layers)

"""How long networks take on this machine, and what they compute."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

from quickstudy.engine.cores import cores
from quickstudy.episode import Features, leaves
from quickstudy.errors import ConfigError
from quickstudy.formats.passing import arguments

ROUNDS, _CALLS, _WARM = 15, 4, 3


@dataclass(frozen=True)
class Cost:
    """What a network costs for one example. milliseconds: the median of its calls, on one thread. parameters: how many
    numbers it has. operations: multiplications and additions."""

    milliseconds: float
    parameters: int
    operations: int


def measured(networks: Sequence[nn.Module], example: Features) -> list[Cost]:
    """The cost of each network for an example (1, …); see `milliseconds`."""
    times = milliseconds(networks, example)
    return [cost_of(network, example, taken) for network, taken in zip(networks, times, strict=True)]


def cost_of(network: nn.Module, example: Features, taken: float) -> Cost:
    """The cost of a network that takes so many milliseconds."""
    return Cost(taken, sum(p.numel() for p in network.parameters()), operations(network, example))


def milliseconds(networks: Sequence[nn.Module], example: Features, rounds: int = ROUNDS) -> list[float]:
    """What each network takes for an example (1, …), on the processor and one thread, all measured in turn, so that
    what else the machine does strikes all alike.

    Raises ConfigError for an example that is none or several.
    """
    if len(leaves(example)[0]) != 1:
        raise ConfigError(f"Networks are timed with one example, found {len(leaves(example)[0])}. Give one: x[:1].")
    times: list[list[float]] = [[] for _ in networks]
    with torch.inference_mode(), cores(1):
        for network in networks:
            network.eval()
            given, named = arguments(network, example)
            for _ in range(_WARM):
                network(*given, **named)
        for _ in range(rounds):
            for own, network in zip(times, networks, strict=True):
                given, named = arguments(network, example)
                began = time.perf_counter()
                for _ in range(_CALLS):
                    network(*given, **named)
                own.append((time.perf_counter() - began) / _CALLS)
    return [1000 * median(own) for own in times]


def operations(network: nn.Module, example: Features) -> int:
    """Multiplications and additions of a network's products (convolutions, linear layers, attention) for an example."""
    from torch.utils.flop_counter import FlopCounterMode

    given, named = arguments(network, example)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(*given, **named)
    return int(counter.get_total_flops())

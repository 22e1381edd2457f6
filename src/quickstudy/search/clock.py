"""How long the networks of a space take on this machine, beside one of them, and which of them keep a limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from quickstudy.episode import Features
from quickstudy.errors import ConfigError
from quickstudy.search.timing import ROUNDS, Cost, cost_of, measured, milliseconds
from quickstudy.space import Space, Values

_ENDS = 64  # networks at the ends of the space that are timed
_MEMBERS, _FEWEST = 256, 8  # networks that are drawn: so many, or what there is time for


@dataclass
class Clock:
    """space: of networks. network: makes that of a point. example: features (1, …). reference: a network beside which
    all others are timed, so that a busy machine strikes both. known: what the reference took, where it was timed
    before."""

    space: Space
    network: Callable[[Values], nn.Module]
    example: Features
    reference: nn.Module
    known: Cost | None = None

    def __post_init__(self) -> None:
        self.own = self.known or measured([self.reference], self.example)[0]

    def cost(self, point: Values) -> Cost:
        """Of the network of a point."""
        network = self.network(point)
        return cost_of(network, self.example, self._milliseconds(network, ROUNDS))

    def _milliseconds(self, network: nn.Module, rounds: int) -> float:
        """What a network takes, as if the machine had been as busy as when the reference was timed first."""
        beside, own = milliseconds([self.reference, network], self.example, rounds)
        return own * self.own.milliseconds / beside

    def ends(self, corners: Sequence[Values], limit: float, generator: np.random.Generator) -> list[Values]:
        """Of points at the ends of the space those whose networks take at most `limit` milliseconds.

        Raises ConfigError where none does.
        """
        asked = [corners[i] for i in generator.permutation(len(corners))[:_ENDS]]
        taken = [self._milliseconds(self.network(point), 3) for point in asked]
        found = [point for point, own in zip(asked, taken, strict=True) if own <= limit]
        if not found:
            raise ConfigError(
                f"No network of this space keeps {limit:g} ms: the smallest take {min(taken):.2f} ms for one example "
                "on this machine. Raise the limit, or make the examples smaller (--tasks.size)."
            )
        return found

    def drawn(self, limit: float, seconds: float, generator: np.random.Generator) -> list[Values]:
        """Networks that keep the limit, drawn by chance: as many as are found in so many seconds, and a few at least,
        where some were found at all."""
        began, found = time.monotonic(), list[Values]()
        while len(found) < _MEMBERS:
            late = time.monotonic() - began > seconds
            if late and (len(found) >= _FEWEST or not found):
                break
            (point,) = self.space.draw(1, generator)
            if self._milliseconds(self.network(point), 3) <= limit:
                found.append(point)
        return found

"""Networks that share weights: one is trained for all, and each is asked what it reaches with those that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

from quickstudy.search.supernet import Supernet
from quickstudy.space import Values
from quickstudy.storage.tensors import load_tensors, save_tensors

_EVERY = 30.0  # seconds between two savings


class _Facts(TypedDict):
    kind: str
    steps: int
    seconds: float


class Together:
    """net: the network that is trained. seconds: that it was trained for."""

    def __init__(self, net: Supernet, folder: Path) -> None:
        self.net, self.path, self.seconds = net, folder / "shared.safetensors", 0.0
        if self.path.exists():
            net.shared, facts = load_tensors(self.path, "shared", _Facts)
            net.steps, self.seconds = int(facts["steps"]), float(facts["seconds"])

    def train(self, seconds: float, members: Sequence[Values], said: Callable[[], None]) -> None:
        """Train for so many seconds in all, those before this process included. What was learned is saved now and then,
        and when training is stopped; `said` is called with it."""

        def save(own: float) -> None:
            self.seconds = own
            save_tensors(self.path, self.net.shared, _Facts(kind="shared", steps=self.net.steps, seconds=own))
            said()

        self.net.train(seconds, members=members, spent=self.seconds, every=_EVERY, save=save)

    def reached(self, point: Values, number: int, episodes: int) -> tuple[float | None, str]:
        """The headline on validation tasks with the weights that a network takes; None where it is no number."""
        mean = self.net.evaluated(point, episodes).mean
        return (mean, "") if math.isfinite(mean) else (None, "its validation gave no number")

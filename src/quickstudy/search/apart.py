"""Networks that are each trained by themselves, for a moment: those that share no weights, such as recurrent ones of
several widths, and the few that shared weights say most of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from quickstudy.choosing.search import FIRST, SHORTEST
from quickstudy.choosing.trial import Attempt, attempted
from quickstudy.search.spaces import with_network
from quickstudy.space import Values
from quickstudy.tasks.base import Source
from quickstudy.training.config import RunConfig


@dataclass
class Apart:
    """config: a run whose model leaves options open. source: its tasks. folder: where trials lie, `trials/003`.
    seconds: of the whole search."""

    config: RunConfig
    source: Source
    folder: Path
    seconds: float

    @property
    def each(self) -> float:
        """Seconds for which one network is trained."""
        return max(SHORTEST, FIRST * self.seconds)

    def reached(self, point: Values, number: int, episodes: int) -> tuple[float | None, str]:
        """Train the network of a point, as trial `number`, and give the headline that it reaches on validation tasks;
        None, and why, where that failed. A trial that was stopped goes on."""
        place = self.place(number)
        config = replace(with_network(self.config, point), name=f"trial-{number}")
        asked = Attempt(config.to_json(), str(place.absolute()), self.each, episodes)
        outcome = attempted(asked, place.name, self.source)
        if outcome.result is None:
            return None, outcome.error
        mean = outcome.result["mean"]
        return (mean, "") if math.isfinite(mean) else (None, "its validation gave no number")

    def place(self, number: int) -> Path:
        """Where the run of a trial lies."""
        return self.folder / "trials" / f"{number:03d}"

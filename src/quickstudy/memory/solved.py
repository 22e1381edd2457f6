"""What comes of a task that was learned from memories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from quickstudy.brief import Brief
from quickstudy.episode import State
from quickstudy.memory.beside import Beside
from quickstudy.memory.entry import Entry

Start = Literal["memory", "phi", "random"]
"""Where the base learner starts: from what it remembers so far (lifelong), from φ, or from a fresh network."""


@dataclass(frozen=True)
class Solved(Brief):
    """A task that was learned. state: ψ. recalled: the memories it started from, with their closeness; empty for φ.

    metrics: of the query set, or, called 'support …', of the support set where there was none. start: what was asked
    for. id: its entry, where it was remembered. beside: memories as a start beside φ, where that was measured; if they
    were worse, φ was started from.
    """

    state: State
    recalled: tuple[tuple[Entry, float], ...]
    metrics: Mapping[str, float]
    start: Start
    id: str | None = None
    beside: Beside | None = None

    def __str__(self) -> str:
        if self.start != "memory":
            return "started from φ" if self.start == "phi" else "started from a fresh network"
        if self.beside is not None and self.beside.worse:
            return f"started from φ: memories are a worse start ({self.beside})"
        if not self.recalled:
            return "started from φ: nothing near was found"
        told = "" if self.beside is None else f" ({self.beside})"
        return "started from " + ", ".join(f"{entry.name} ({near:.2f})" for entry, near in self.recalled) + told

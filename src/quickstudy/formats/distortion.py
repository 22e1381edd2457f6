"""How far training examples may be distorted, each format in its own way."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar

from quickstudy.errors import ConfigError


@dataclass(frozen=True)
class Distortion:
    """The amounts of one kind of distortion each; 0 switches it off. By itself, no distortion at all.

    shares: those of a whole, which are at most 1. Raises ConfigError for amounts that cannot be.
    """

    shares: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for one in fields(self):
            amount, share = getattr(self, one.name), one.name in self.shares
            if not 0 <= amount <= (1 if share else math.inf) or math.isinf(amount):
                most = "at most 1, as a share" if share else "finite"
                raise ConfigError(
                    f"The distortion {one.name} must be at least 0 and {most}, found {amount}. Correct it."
                )

    def __bool__(self) -> bool:
        """Whether anything is distorted."""
        return any(getattr(self, one.name) for one in fields(self))

"""The settings of the outer optimizer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from quickstudy.entries import PARAMETER
from quickstudy.errors import ConfigError
from quickstudy.inner.partition import matching


@dataclass(frozen=True, kw_only=True)
class OuterOptions:
    """How φ moves along a gradient: what `Outer` needs of a `RunConfig`, whose fields say what each means.

    rates: learning rates of their own, by patterns of names, see `quickstudy.inner.partition.matching`; a parameter has
    that of the first pattern that matches, or else `lr`. iterations: outer steps altogether, for the schedule.
    """

    optimizer: str = "Adam"
    lr: float = 1e-3
    rates: Mapping[str, float] = field(default_factory=dict)
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = "none"
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    clip: float = 0.0
    average: float = 0.0
    iterations: int = 1000

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ConfigError(f"iterations cannot be negative, found {self.iterations}; 0 adapts without training.")
        for name, rate in {
            "lr": self.lr,
            **{f"the rate of {pattern!r:.80}": r for pattern, r in self.rates.items()},
        }.items():
            if not 0 < rate < math.inf:
                raise ConfigError(f"{name} must be positive, found {rate}. To leave something as it is, see trainable.")
        if not self.clip >= 0:
            raise ConfigError(f"clip must be positive, or 0 for no bound, found {self.clip}.")
        if not 0 <= self.average < 1:
            raise ConfigError(f"average must lie in [0, 1), found {self.average}.")

    def groups(self, names: Iterable[str]) -> list[tuple[float, list[str]]]:
        """The entries of φ called `names` with their learning rates: those of `lr` first, then in the order of `rates`.

        Raises ConfigError for a pattern that gives no entry its rate.
        """
        left = {name.removeprefix(PARAMETER): name for name in names}
        found: list[tuple[float, list[str]]] = []
        for pattern, rate in self.rates.items():
            chosen = matching([pattern], list(left))
            if not chosen:
                raise ConfigError(
                    f"No parameter that is trained matches {pattern!r:.80}, which was given the rate {rate}, or an "
                    f"earlier pattern has taken all. Those left are: {', '.join(list(left)[:20]) or 'none'}. Correct "
                    "rates."
                )
            found.append((rate, [left.pop(name) for name in chosen]))
        return [(self.lr, list(left.values())), *found] if left else found

    @property
    def ends(self) -> bool:
        """Whether the schedule is stretched over the run's steps, so that it cannot go on beyond them."""
        if self.schedule == "none":
            return False
        takes = inspect.signature(getattr(torch.optim.lr_scheduler, self.schedule)).parameters
        return any(name in takes and name not in self.schedule_options for name in ("T_max", "total_steps"))

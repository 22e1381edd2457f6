"""A strategy that learns from its trials which candidates are good."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError
from quickstudy.hints import Count
from quickstudy.registry import proposers
from quickstudy.search.base import Known, Strategy
from quickstudy.search.gaussian import Kernel, emphasised, standard
from quickstudy.space import Array, Values


@proposers.register("predicted")
@dataclass(frozen=True, kw_only=True)
class Predicted(Strategy):
    """A Gaussian process on the points' descriptions says which candidate is best (BANANAS, White et al. 2021, with an
    ensemble of networks).

    With curved=0 it is a ridge regression.

    start: trials by chance before it learns. emphasis: it regresses −log of the rank among the trials, by which the
    best count most; otherwise the score itself. linear, curved, scale, noise: of the kernel. explore: share of trials
    by chance. optimism: deviations added to the mean. thompson: a draw for each candidate instead, `optimism`
    deviations wide.
    """

    start: Count = 10
    emphasis: bool = True
    linear: float = 1.0
    curved: float = 0.3
    scale: float = 1.0
    noise: float = 0.1
    explore: float = 0.0
    optimism: float = 0.0
    thompson: bool = False

    def __post_init__(self) -> None:
        if not (self.noise > 0 and self.scale > 0 and min(self.linear, self.curved) >= 0 < self.linear + self.curved):
            raise ConfigError(
                f"{self} has no kernel. Give noise and scale above 0, and linear or curved, none below 0."
            )
        if not 0 <= self.explore <= 1:
            raise ConfigError(f"The share {self.explore} of trials by chance is not between 0 and 1. Correct it.")
        if self.thompson and not self.optimism:
            raise ConfigError("Draws that are 0 deviations wide are none. Give thompson an optimism, such as 1.")

    def ask(self, known: Known, rng: np.random.Generator) -> Values:
        if len(known.tried) < max(self.start, 1) or rng.random() < self.explore:
            return known.drawn(rng)
        return self.chosen(known, rng)

    def chosen(self, known: Known, rng: np.random.Generator) -> Values:
        """The fresh candidate with the highest value; chance decides between equal ones, which are described alike."""
        value = self.values(known, rng)[known.fresh]
        return known.pool.points[int(known.fresh[rng.choice(np.flatnonzero(value >= value.max() - 1e-9))])]

    def values(self, known: Known, rng: np.random.Generator) -> Array:
        """(n,), how promising each candidate is."""
        rows, which = known.pool.different
        return self.regressed(rows, which, known, rng)

    def regressed(self, rows: Array, which: NDArray[np.int64], known: Known, rng: np.random.Generator) -> Array:
        """(n,), what a Gaussian process on descriptions makes of the trials. rows: (m, D); which: of them is each of
        n candidates'."""
        kernel = Kernel(self.linear, self.curved, self.scale, self.noise)
        y = emphasised(known.scores) if self.emphasis else standard(known.scores)
        x = rows[which[known.tried]]
        if not self.optimism:
            return kernel.mean(x, y, rows)[which]
        mean, variance = kernel.posterior(x, y, rows)
        wide = rng.standard_normal(len(which)) if self.thompson else 1.0
        return np.asarray(mean[which] + self.optimism * np.sqrt(variance[which]) * wide)

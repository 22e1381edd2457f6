"""A forest for each algorithm, which says how long it will take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quickstudy.hints import Size
from quickstudy.registry import selectors
from quickstudy.select.base import Selector, State, filled, fit_columns
from quickstudy.select.forest import Tried, asked, grow, planted
from quickstudy.select.scenario import Array, Scenario


@selectors.register("per-algorithm")
@dataclass(frozen=True, kw_only=True)
class Regression(Selector):
    """A random forest for each algorithm regresses its PAR10 on the features.

    trees: of each forest. leaf: instances in a leaf, at least. tried: features looked at for a split. log: whether the
    logarithm of the time is regressed, as in SATzilla (Xu et al. 2008), which weighs time-outs less.
    """

    trees: Size = 100
    leaf: Size = 1
    tried: Tried = "all"
    log: bool = False

    def fit(self, scenario: Scenario, seed: int) -> State:
        columns, times = fit_columns(scenario.x), scenario.penalised()
        if self.log:
            times = np.log10(np.maximum(times - min(times.min(), 0.0), 1e-3))
        x = filled(columns, scenario.x)
        size = {"trees": self.trees, "leaf": self.leaf, "tried": self.tried, "seed": seed}
        forests = [grow(x, times[:, [a]], **size) for a in range(times.shape[1])]  # type: ignore[arg-type]
        return columns | planted(forests)

    def scores(self, state: State, x: Array) -> Array:
        return asked(state, filled(state, x))[:, :, 0]

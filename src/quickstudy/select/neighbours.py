"""What was best on the instances that look most alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quickstudy.hints import Size
from quickstudy.registry import selectors
from quickstudy.select.base import Selector, State, filled, fit_columns
from quickstudy.select.scenario import Array, Scenario


@selectors.register("neighbours")
@dataclass(frozen=True, kw_only=True)
class Neighbours(Selector):
    """The best mean PAR10 over the nearest known instances.

    SUNNY's neighbourhood (Amadini et al. 2014), without its schedule. Distances are Euclidean, of features in units of
    their deviation.

    nearest: how many; all where there are fewer.
    """

    nearest: Size = 16

    def fit(self, scenario: Scenario, seed: int) -> State:
        columns = fit_columns(scenario.x)
        return columns | {"x": filled(columns, scenario.x), "times": scenario.penalised()}

    def scores(self, state: State, x: Array) -> Array:
        seen, times = state["x"], state["times"]
        found = np.zeros((len(x), times.shape[1]))
        for row, query in enumerate(filled(state, x)):
            distance = np.square(seen - query).sum(axis=1)
            near = np.argsort(distance, kind="stable")[: self.nearest]
            found[row] = times[near].mean(axis=0)
        return found

"""The best algorithm on average, whatever the instance: what every selector is held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quickstudy.registry import selectors
from quickstudy.select.base import Selector, State
from quickstudy.select.scenario import Array, Scenario


@selectors.register("single-best", blind=True)
@dataclass(frozen=True, kw_only=True)
class SingleBest(Selector):
    """The algorithm with the best mean PAR10 on the known instances; looks at no feature."""

    def fit(self, scenario: Scenario, seed: int) -> State:
        return {"mean": scenario.penalised().mean(axis=0)}

    def scores(self, state: State, x: Array) -> Array:
        return np.broadcast_to(state["mean"], (len(x), len(state["mean"])))

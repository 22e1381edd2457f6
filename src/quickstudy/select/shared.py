"""One forest for all algorithms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from quickstudy.hints import Size
from quickstudy.registry import selectors
from quickstudy.select.base import Selector, State, filled, fit_columns
from quickstudy.select.forest import Tried, asked, asked_unseen, bags, grow_extra, planted
from quickstudy.select.scenario import Array, Scenario

Loss = Literal["par10", "log", "rank"]


@selectors.register("shared-forest")
@dataclass(frozen=True, kw_only=True)
class SharedForest(Selector):
    """One forest says how much each algorithm loses against the mean of all of them, on the same instance.

    Extremely randomised trees on bootstrap samples, with an output for each algorithm: the splits are those that tell
    losses apart, so a leaf holds instances on which the same algorithms are good (as the clusters of Malitsky et al.
    2013), and the score is the mean over a neighbourhood that the forest has found. How hard an instance is for all is
    left out, as nothing can be chosen by it.

    loss: PAR10, its logarithm, or the share of algorithms that are faster. trees, leaf, tried: as of `per-algorithm`.
    """

    loss: Loss = "par10"
    trees: Size = 200
    leaf: Size = 1
    tried: Tried = "third"

    def fit(self, scenario: Scenario, seed: int) -> State:
        columns, losses = fit_columns(scenario.x), self._losses(scenario)
        drawn = bags(len(losses), self.trees, seed)
        x = filled(columns, scenario.x)
        return columns | planted([grow_extra(x, losses, leaf=self.leaf, tried=self.tried, seed=seed, drawn=drawn)])

    def scores(self, state: State, x: Array) -> Array:
        return asked(state, filled(state, x))[:, 0]

    def unseen(self, scenario: Scenario, state: State, seed: int) -> Array:
        drawn = bags(len(scenario.instances), self.trees, seed)
        return asked_unseen(state, filled(state, scenario.x), drawn)

    def _losses(self, scenario: Scenario) -> Array:
        """Less their mean over the algorithms, in units of their deviation, (n, A)."""
        times = scenario.penalised()
        if self.loss == "log":
            least = 1e-4 * (scenario.cutoff if scenario.timed else float(np.ptp(times)) or 1.0)
            times = np.log(np.maximum(times - min(times.min(), 0.0), least))
        elif self.loss == "rank":
            slower, same = times[:, :, None] > times[:, None], times[:, :, None] == times[:, None]
            times = (slower + 0.5 * same).mean(axis=2)
        losses: Array = times - times.mean(axis=1, keepdims=True)
        return losses / (float(losses.std()) or 1.0)

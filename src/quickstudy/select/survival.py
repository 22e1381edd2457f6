"""Survival forests: how probable it is that an algorithm still runs, at any time up to the cutoff."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quickstudy.hints import Size
from quickstudy.registry import selectors
from quickstudy.select.base import Selector, State, filled, fit_columns
from quickstudy.select.forest import Tried, asked, grow, planted
from quickstudy.select.scenario import Array, Scenario

Risk = Literal["par10", "par2", "expectation", "unfinished"]


@selectors.register("survival")
@dataclass(frozen=True, kw_only=True)
class Survival(Selector):
    """A survival forest for each algorithm, and the least expected risk (Run2Survive, Tornede et al. 2020).

    All runs are stopped at one cutoff, so until then nobody is censored: in a leaf, the Kaplan–Meier estimate of the
    survival function S is the share of runs that last longer, and a tree that regresses the indicators of 'still
    running' at several times is a survival tree. It splits by the squared error of S (the integrated Brier score),
    where random survival forests use the log-rank statistic. The risk is −∫ r(t) dS(t), with r at the cutoff for what
    did not finish.

    risk: r(t) is t, and at the cutoff C that many times C (par10, par2; expectation: C); unfinished: 0, and 1 at C.
    times: at which S is known, quantiles of the times that runs took. trees: of each forest. leaf: instances in a leaf,
    at least. tried: features looked at for a split.
    """

    risk: Risk = "par10"
    times: Size = 16
    trees: Size = 100
    leaf: Size = 15
    tried: Tried = "sqrt"

    def fit(self, scenario: Scenario, seed: int) -> State:
        columns = fit_columns(scenario.x)
        x, risk = filled(columns, scenario.x), self._risks(scenario)
        forests, risks = [], []
        for algorithm in range(len(scenario.algorithms)):
            done = scenario.finished[:, algorithm]
            took = np.where(done, scenario.times[:, algorithm], np.inf)
            bounds = self._bounds(took[done])
            running = (took[:, None] > bounds).astype(float)
            forests.append(grow(x, running, trees=self.trees, leaf=self.leaf, tried=self.tried, seed=seed))
            risks.append(_means(risk[:, algorithm], np.searchsorted(bounds, took), len(bounds) + 1))
        return columns | planted(forests) | {"risk": np.stack(risks)}

    def _bounds(self, took: Array) -> Array:
        """Times (K,) that divide runs into like shares, the last the longest; all before any run without one."""
        if not len(took):
            return np.full(self.times, -np.inf)
        return np.quantile(took, np.arange(1, self.times + 1) / self.times, method="higher")

    def _risks(self, scenario: Scenario) -> Array:
        """r of each run, (n, A)."""
        if self.risk == "unfinished":
            return (~scenario.finished).astype(float)
        return scenario.penalised({"par10": 10.0, "par2": 2.0, "expectation": 1.0}[self.risk])

    def scores(self, state: State, x: Array) -> Array:
        running = asked(state, filled(state, x))
        edge = np.ones((*running.shape[:2], 1))
        ended = -np.diff(np.concatenate([edge, running, 0 * edge], axis=2), axis=2)
        expected: Array = np.einsum("nak,ak->na", ended, state["risk"])
        return expected


def _means(values: Array, place: NDArray[np.int64], count: int) -> Array:
    """The mean of the values (n,) at each of `count` places, (count,); 0 where there is none."""
    total = np.bincount(place, weights=values, minlength=count)
    return total / np.maximum(np.bincount(place, minlength=count), 1)

"""Survival forests: how probable it is that an algorithm still runs, at any time up to the cutoff."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

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
    running' at several times is a survival tree. It splits by the squared error of S (the integrated Brier score), where
    random survival forests use the log-rank statistic. The risk is −∫ r(t) dS(t), with r at the cutoff for what did not
    finish.

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
        x = filled(columns, scenario.x)
        forests, risks = [], []
        for algorithm in range(len(scenario.algorithms)):
            done = scenario.finished[:, algorithm]
            took = np.where(done, scenario.times[:, algorithm], np.inf)
            bounds = self._bounds(took[done])
            running = (took[:, None] > bounds).astype(float)
            forests.append(
                grow(x, running, trees=self.trees, leaf=self.leaf, tried=self.tried, seed=seed)
            )
            risks.append(self._risks(took, bounds, scenario))
        return columns | planted(forests) | {"risk": np.stack(risks)}

    def _bounds(self, took: Array) -> Array:
        """Times (K,) that divide runs into like shares, the last of them the longest; all before any run without one."""
        if not len(took):
            return np.full(self.times, -np.inf)
        return np.quantile(took, np.arange(1, self.times + 1) / self.times, method="higher")

    def _risks(self, took: Array, bounds: Array, scenario: Scenario) -> Array:
        """The mean risk of the runs that ended before the first bound, between each two, and not at all, (K + 1,)."""
        unfinished = {"par10": 10.0, "par2": 2.0, "expectation": 1.0, "unfinished": 1.0}[self.risk]
        cutoff = scenario.cutoff if scenario.timed else float(np.abs(scenario.times[scenario.finished]).max())
        place = np.searchsorted(bounds, took)
        risks = np.zeros(len(bounds) + 1)
        for between in range(len(bounds)):
            inside = took[place == between]
            if len(inside) and self.risk != "unfinished":
                risks[between] = inside.mean()
        risks[-1] = unfinished * (1.0 if self.risk == "unfinished" else cutoff)
        return risks

    def scores(self, state: State, x: Array) -> Array:
        running = asked(state, filled(state, x))
        edge = np.ones((*running.shape[:2], 1))
        ended = -np.diff(np.concatenate([edge, running, 0 * edge], axis=2), axis=2)
        return np.einsum("nak,ak->na", ended, state["risk"])

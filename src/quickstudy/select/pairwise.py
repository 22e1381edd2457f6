"""Votes of forests that each compare two algorithms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from quickstudy.hints import Size
from quickstudy.registry import selectors
from quickstudy.select.base import Selector, State, filled, fit_columns
from quickstudy.select.forest import Tried, asked, grow, planted
from quickstudy.select.scenario import Array, Scenario


@selectors.register("pairwise")
@dataclass(frozen=True, kw_only=True)
class Pairwise(Selector):
    """A forest for each two algorithms says which is better, and the one that wins most often is chosen.

    SATzilla'11 (Xu et al. 2011): an instance weighs as much as a wrong choice between the two would cost on it, in
    PAR10. Equal counts are decided by the comparisons among those that have them.

    trees: of each forest. leaf: instances in a leaf, at least. tried: features looked at for a split.
    """

    trees: Size = 99
    leaf: Size = 1
    tried: Tried = "log2"

    def fit(self, scenario: Scenario, seed: int) -> State:
        columns, times = fit_columns(scenario.x), scenario.penalised()
        x = filled(columns, scenario.x)
        forests = []
        for one, other in combinations(range(times.shape[1]), 2):
            lost = times[:, one] - times[:, other]
            better = (lost <= 0)[:, None].astype(float)
            size = {"trees": self.trees, "leaf": self.leaf, "tried": self.tried, "seed": seed}
            forests.append(grow(x, better, weights=np.abs(lost), **size))  # type: ignore[arg-type]
        count = np.array(times.shape[1])
        return columns | {"count": count} | (planted(forests) if forests else {})

    def scores(self, state: State, x: Array) -> Array:
        count = int(state["count"])
        if count == 1:
            return np.zeros((len(x), 1))
        wins = asked(state, filled(state, x))[:, :, 0]
        beats = np.zeros((len(x), count, count))
        for number, (one, other) in enumerate(combinations(range(count), 2)):
            first = np.sign(wins[:, number] - 0.5) / 2 + 0.5  # a forest that cannot tell gives half a vote to each
            beats[:, one, other], beats[:, other, one] = first, 1 - first
        votes = beats.sum(axis=2)
        leads = votes == votes.max(axis=1, keepdims=True)
        among = (beats * leads[:, None, :]).sum(axis=2) * leads
        scores: Array = -(votes + among / (2 * count))
        return scores

"""The contract of selectors, and the features that they see: without gaps, in like units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.select.scenario import Array, Scenario

State = dict[str, NDArray[Any]]
"""What a selector has learned of a scenario: arrays by name, all that is stored of it."""

_PARTS = 5


class Selector(ABC):
    """Two pure functions, as a learner's `adapt` and `predict`: what is known of a scenario, and scores of its
    algorithms on instances that are new. A selector is a frozen dataclass of options and holds nothing else, so that a
    network that reads the scenario as its context is one as well as a forest fitted to it.

    Registered with `quickstudy.registry.selectors`; its options are keyword-only.
    """

    @abstractmethod
    def fit(self, scenario: Scenario, seed: int) -> State:
        """What is learned from n instances. seed: of whatever is drawn; the same gives the same."""

    @abstractmethod
    def scores(self, state: State, x: Array) -> Array:
        """A score for each algorithm, the smaller the better, (m, A); x: features (m, D), NaN where one is missing."""

    def unseen(self, scenario: Scenario, state: State, seed: int) -> Array:
        """Scores (n, A) of the instances that `state` was learned from with this seed, as if each were new.

        Here by cross-validation: each fifth is scored by what is learned of the others. A forest can have them for
        less, from the trees that have not seen an instance.
        """
        count = len(scenario.instances)
        parts = np.random.default_rng(seed).permutation(np.arange(count) % min(_PARTS, count))
        found = np.zeros((count, len(scenario.algorithms)))
        for part in range(min(_PARTS, count)):
            held = parts == part
            rest = scenario.rows(~held) if count > 1 else scenario
            learned = self.fit(rest, seed) if rest.finished.any() else state
            found[held] = self.scores(learned, scenario.x[held])
        return found


def fit_columns(x: Array) -> State:
    """Mean and standard deviation (D,) of each feature where it is known; 0 and 1 where it never is, or is constant."""
    count = (~np.isnan(x)).sum(axis=0)
    mean = np.nansum(x, axis=0) / np.maximum(count, 1)
    deviation = np.sqrt(np.nansum((x - mean) ** 2, axis=0) / np.maximum(count, 1))
    rounding = 10 * np.finfo(np.float64).eps * np.abs(mean)  # the mean of equal numbers is one of them only about
    return {"columns.mean": mean, "columns.scale": np.where(deviation > rounding, deviation, 1.0)}


def filled(state: State, x: Array) -> Array:
    """Features (m, D) in units of their deviation from the mean, 0 where one is missing."""
    return np.where(np.isnan(x), 0.0, (x - state["columns.mean"]) / state["columns.scale"])

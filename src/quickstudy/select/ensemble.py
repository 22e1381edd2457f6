"""Several selectors that are asked together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quickstudy.errors import ConfigError
from quickstudy.options import pairs
from quickstudy.registry import selectors
from quickstudy.select.base import Selector, State
from quickstudy.select.scenario import Array, Scenario


@selectors.register("ensemble")
@dataclass(frozen=True, kw_only=True)
class Ensemble(Selector):
    """The mean of the scores of several selectors, each less its mean over the algorithms, in units of its deviation.

    members: selectors by name, each with options if it needs any: "shared-forest loss log".
    """

    members: tuple[str, ...] = ("shared-forest", "shared-forest loss log", "neighbours")

    def fit(self, scenario: Scenario, seed: int) -> State:
        state: State = {}
        for number, selector in enumerate(self._selectors()):
            learned = selector.fit(scenario, seed)
            spread = float(_centred(selector.scores(learned, scenario.x)).std())
            state |= {f"{number}.{name}": value for name, value in learned.items()}
            state[f"spread.{number}"] = np.array(spread or 1.0)
        return state

    def scores(self, state: State, x: Array) -> Array:
        return _together(state, [one.scores(_of(state, i), x) for i, one in enumerate(self._selectors())])

    def unseen(self, scenario: Scenario, state: State, seed: int) -> Array:
        each = [one.unseen(scenario, _of(state, i), seed) for i, one in enumerate(self._selectors())]
        return _together(state, each)

    def _selectors(self) -> list[Selector]:
        if not self.members:
            raise ConfigError("An ensemble has no members. Name some selectors.")
        found = []
        for words in self.members:
            name, *options = words.split()
            found.append(selectors.part(name, **pairs(f"the options of the member {name!r}", options)).build())
        return found


def _of(state: State, number: int) -> State:
    start = f"{number}."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def _centred(scores: Array) -> Array:
    found: Array = scores - scores.mean(axis=1, keepdims=True)
    return found


def _together(state: State, each: list[Array]) -> Array:
    found: Array = np.mean([_centred(one) / float(state[f"spread.{i}"]) for i, one in enumerate(each)], axis=0)
    return found

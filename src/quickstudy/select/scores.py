"""What selectors are worth: PAR10 over official folds, between the best for each instance and the best for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.estimate import Estimate
from quickstudy.registry import Part, selectors
from quickstudy.select.base import Selector
from quickstudy.select.scenario import Scenario
from quickstudy.select.schedule import played
from quickstudy.select.selection import Selection, fit


@dataclass(frozen=True)
class FoldScore:
    """par10, of the selector, the oracle (the best algorithm of each instance), and the single best of the other folds:
    means over the instances of the fold that any algorithm finishes. finished: the share of them that the selector
    finishes. count: of them. seconds: that fitting took."""

    fold: int
    par10: float
    oracle: float
    single: float
    finished: float
    count: int
    seconds: float

    @property
    def npar10(self) -> float:
        """0 for the oracle, 1 for the single best; NaN where the two are equal."""
        gap = self.single - self.oracle
        return (self.par10 - self.oracle) / gap if gap > 0 else float("nan")


@dataclass(frozen=True)
class Measured:
    """The scores of one selector on one scenario, over its folds. Intervals are Student's, over folds."""

    selector: str
    scenario: str
    folds: tuple[FoldScore, ...]

    @property
    def npar10(self) -> Estimate:
        """Over the folds in which the oracle is better than the single best."""
        values = [fold.npar10 for fold in self.folds if not np.isnan(fold.npar10)]
        if not values:
            raise DataError(
                f"In every fold of {self.scenario} the single best algorithm is the best on each instance: there is "
                "nothing to choose, and nPAR10 means nothing. Add algorithms, or harder instances."
            )
        return Estimate.of_draws(torch.tensor(values, dtype=torch.float64))

    @property
    def par10(self) -> Estimate:
        return Estimate.of_draws(torch.tensor([fold.par10 for fold in self.folds], dtype=torch.float64))

    @property
    def undefined(self) -> tuple[int, ...]:
        """The folds without an nPAR10."""
        return tuple(fold.fold for fold in self.folds if np.isnan(fold.npar10))

    def to_json(self) -> dict[str, Any]:
        found = self.npar10
        return {
            "selector": self.selector,
            "scenario": self.scenario,
            "npar10": {"mean": found.mean, "ci95": found.ci95, "folds": found.count},
            "folds": [vars(fold) | {"npar10": None if np.isnan(fold.npar10) else fold.npar10} for fold in self.folds],
        }


def folds_of(scenario: Scenario) -> list[int]:
    """The numbers of the folds that hold an instance which any algorithm finishes; DataError for fewer than two."""
    found = sorted({int(fold) for fold in scenario.folds[scenario.solvable] if fold > 0})
    if len(found) < 2:
        raise DataError(
            f"{scenario.name} has {len(found)} folds with instances that any algorithm finishes, and 2 are the least. "
            "Give the number of a fold for each instance."
        )
    return found


def measure(
    part: Part[Selector],
    scenario: Scenario,
    *,
    presolve: float = 0.0,
    plan: bool = False,
    bootstrap: bool = False,
    progress: Callable[[FoldScore], object] = lambda fold: None,
) -> Measured:
    """A selector fitted to all folds but one, and asked about that one, for each fold.

    By the convention of Tornede et al. (2022, "Algorithm selection on a meta level"): instances that no algorithm
    finishes are learned from, and not asked; the selector pays for all features, oracle and single best do not; the
    number of the fold is the seed. bootstrap: it learns from a sample with repeats of the instances, as large as they
    are many, drawn with that seed, as the published selectors did; a selector that looks at no feature sees all.
    presolve, plan: as of `fit`. ConfigError for a plan with a bootstrap, as repeats of an instance cannot be scored as
    if they were new.
    """
    sampled = bootstrap and not selectors.traits(part.name).blind
    if sampled and plan:
        raise ConfigError(
            "A plan scores known instances as if they were new, and a bootstrap sample has copies of them, which are "
            "learned from. Leave out the plan, or the bootstrap."
        )
    scores = []
    for fold in folds_of(scenario):
        known, asked = (
            scenario.rows(scenario.folds != fold),
            scenario.rows((scenario.folds == fold) & scenario.solvable),
        )
        sample = known
        if sampled:
            count = len(known.instances)
            sample = known.rows(np.random.RandomState(fold).randint(0, count, count))
        began = time.perf_counter()
        selection = fit(part, sample, presolve=presolve, plan=plan, seed=fold)
        took = time.perf_counter() - began
        scores.append(_score(selection, known, asked, fold, took))
        progress(scores[-1])
    return Measured(part.name, scenario.name, tuple(scores))


def _score(selection: Selection, known: Scenario, asked: Scenario, fold: int, seconds: float) -> FoldScore:
    result = played(asked, selection.ranked(asked.x), selection.schedule, selection.turns, free=selection.blind)
    single = int(known.penalised().mean(axis=0).argmin())
    times = asked.penalised()
    return FoldScore(
        fold, float(result.mean()), float(times.min(axis=1).mean()), float(times[:, single].mean()),
        float((result <= asked.cutoff).mean()), len(asked.instances), seconds,
    )  # fmt: skip

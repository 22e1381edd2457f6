"""A selector that has learned a scenario: it chooses for new instances, and is stored as one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from quickstudy.errors import CheckpointError, ConfigError, DataError, ShapeError, first_of, fitting_together
from quickstudy.registry import Part, selectors
from quickstudy.select.base import Selector, State
from quickstudy.select.plan import planned
from quickstudy.select.scenario import Array, Scenario
from quickstudy.select.schedule import ALONE, Schedule, Slice, Turns, presolvers, within
from quickstudy.storage.tensors import load_tensors, save_tensors

KIND = "selector"
STORED = ".safetensors"
"""What the name of a stored selector ends in."""


class _Meta(TypedDict):
    selector: str
    options: dict[str, Any]
    scenario: str
    algorithms: list[str]
    features: list[str]
    cutoff: float | None
    means: list[float]
    schedule: list[tuple[int, float]]
    turns: NotRequired[list[float]]
    kind: NotRequired[str]


@dataclass(frozen=True)
class Selection:
    """What `fit` gives. algorithms (A), features (D): their names. cutoff: infinite where no time is measured. means:
    PAR10 of each algorithm over the known instances, which decides between equal scores. schedule: what runs first.
    turns: which share of the time that is then left the best, the second best, … algorithm gets."""

    part: Part[Selector]
    state: State
    scenario: str
    algorithms: tuple[str, ...]
    features: tuple[str, ...]
    cutoff: float
    means: tuple[float, ...]
    schedule: Schedule = ()
    turns: Turns = ALONE

    @property
    def blind(self) -> bool:
        """Whether it needs no features."""
        return bool(selectors.traits(self.part.name).blind)

    def scores(self, x: Any) -> Array:
        """A score for each algorithm, the smaller the better, (m, A). x: features (m, D), NaN where one is missing.

        Raises ShapeError for another number of features, DataError for infinite ones.
        """
        values = np.asarray(x, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.features):
            raise ShapeError(
                f"The features have the shape {values.shape}, expected (instances, {len(self.features)}): "
                f"{first_of(self.features)}. Give a row for each instance."
            )
        if np.isinf(values).any():
            raise DataError("A feature is infinite. Write NaN where it is not known.")
        found = self.part.build().scores(self.state, values)
        if not np.isfinite(found).all():
            raise DataError(
                f"The selector {self.part.name!r} gives scores that are no numbers. Look for features that are far "
                "outside of what it was fitted to."
            )
        return np.asarray(found)

    def ranked(self, x: Any) -> NDArray[np.int64]:
        """The numbers of the algorithms from the best score to the worst, (m, A).

        Of equal scores the algorithm with the better mean comes first, then the first by name: so one that never
        finished is chosen only where none did.
        """
        return _ranked(self.scores(x), np.array(self.means))

    def chosen(self, x: Any) -> NDArray[np.int64]:
        """The number of the algorithm with the best score, (m,)."""
        return self.ranked(x)[:, 0]

    def choose(self, x: Any) -> list[str]:
        """The name of the algorithm to run on each instance."""
        return [self.algorithms[i] for i in self.chosen(x)]

    def takes_turns(self, x: Any) -> list[list[str]]:
        """The names of the algorithms to run on each instance one after another, as many as there are `turns`."""
        return [[self.algorithms[i] for i in row[: len(self.turns)]] for row in self.ranked(x)]

    def save(self, path: str | Path) -> None:
        """Store it as one safetensors file."""
        meta = {
            "kind": KIND, "selector": self.part.name, "options": self.part.settings(), "scenario": self.scenario,
            "algorithms": list(self.algorithms), "features": list(self.features),
            "cutoff": self.cutoff if np.isfinite(self.cutoff) else None, "means": list(self.means),
            "schedule": [list(one) for one in self.schedule], "turns": list(self.turns),
        }  # fmt: skip
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in self.state.items()}
        save_tensors(Path(path), tensors, meta)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` stored. RunError if there is no such file, CheckpointError if it is damaged or something else."""
        tensors, meta = load_tensors(Path(path), KIND, _Meta)
        with fitting_together(
            f"The selector in {path} does not fit together", "Restore it from a copy, or fit it anew."
        ):
            options = {name: tuple(v) if isinstance(v, list) else v for name, v in meta["options"].items()}
            part = selectors.part(meta["selector"], **options)
            cutoff = np.inf if meta["cutoff"] is None else float(meta["cutoff"])
            loaded = cls(
                part, {name: value.numpy() for name, value in tensors.items()}, meta["scenario"],
                tuple(meta["algorithms"]), tuple(meta["features"]), cutoff, tuple(meta["means"]),
                tuple(Slice(*one) for one in meta["schedule"]), tuple(meta.get("turns", ALONE)),
            )  # fmt: skip
            width = loaded.scores(np.zeros((1, len(loaded.features)))).shape
            if width != (1, len(loaded.algorithms)) or len(loaded.means) != len(loaded.algorithms):
                raise CheckpointError(
                    f"The selector in {path} scores {width[1]} algorithms, and {len(loaded.algorithms)} are named. "
                    "Restore it from a copy."
                )
            if any(not 0 <= one.algorithm < len(loaded.algorithms) for one in loaded.schedule):
                raise CheckpointError(f"The schedule in {path} names an algorithm that is not there. Fit it anew.")
            if not 1 <= len(loaded.turns) <= len(loaded.algorithms):
                raise CheckpointError(f"{path} has {len(loaded.turns)} turns of {width[1]} algorithms. Fit it anew.")
        return loaded


def _ranked(scores: Array, means: Array) -> NDArray[np.int64]:
    order = np.lexsort((np.arange(len(means)), means))
    ranked: NDArray[np.int64] = order[np.argsort(scores[:, order], axis=1, kind="stable")]
    return ranked


def fit(
    part: Part[Selector] | str, scenario: Scenario, *, presolve: float = 0.0, plan: bool = False, seed: int = 0
) -> Selection:
    """A selector fitted to all instances of a scenario.

    part: of `quickstudy.registry.selectors`, or its name. presolve: seconds of a schedule of presolvers, which is found
    first; the selector then learns from what it leaves over, if that is anything. plan: whether presolvers, turns of
    the best algorithms, and whether to select at all, are found by what they would have brought on the known instances,
    each scored as if it were new (`planned`, `Selector.unseen`). seed: of whatever is drawn. Raises DataError where all
    features of all instances are missing and the selector needs them, and for a plan where an instance is there twice.

    >>> scenario = Scenario.of([[0.0], [1.0]], [[1, 60], [60, 2]], cutoff=50, algorithms=("cdcl", "walk"))
    >>> fit(selectors.part("neighbours", nearest=1), scenario).choose([[0.1], [0.9]])
    ['cdcl', 'walk']
    """
    chosen = selectors.part(part) if isinstance(part, str) else part
    if presolve > scenario.cutoff:
        raise ConfigError(
            f"Presolvers may run for {presolve:g} s, and runs are stopped after {scenario.cutoff:g} s. Give less."
        )
    if not selectors.traits(chosen.name).blind and scenario.blind.all():
        raise DataError(
            f"All features of all instances of {scenario.name} are missing, so that {chosen.name!r} cannot tell them "
            "apart. Compute features, or take the selector 'single-best'."
        )
    if plan:
        if presolve:
            raise ConfigError(f"A plan finds its own presolvers, and {presolve:g} s of them are given. Leave one out.")
        return _with_plan(chosen, scenario, seed)
    schedule = presolvers(scenario, presolve)
    left = np.ones(len(scenario.instances), dtype=bool)
    for one in schedule:
        left &= ~within(scenario, one)
    hard = scenario.rows(left) if (scenario.finished[left]).any() and not scenario.blind[left].all() else scenario
    state = chosen.build().fit(hard, seed)
    means = hard.penalised().mean(axis=0)
    return Selection(
        chosen, state, scenario.name, scenario.algorithms, scenario.features, scenario.cutoff,
        tuple(means.tolist()), schedule,
    )  # fmt: skip


def _with_plan(part: Part[Selector], scenario: Scenario, seed: int) -> Selection:
    if again := len(scenario.instances) - len(set(scenario.instances)):
        raise DataError(
            f"{again} of {len(scenario.instances)} instances of {scenario.name} are there a second time, as in a "
            "bootstrap sample. A plan scores each as if it were new, and its copy would have been learned from. Give "
            "each instance once: leave out the plan, or the bootstrap."
        )
    selector, means = part.build(), scenario.penalised().mean(axis=0)
    state = selector.fit(scenario, seed)
    order = _ranked(selector.unseen(scenario, state, seed), means)
    found = planned(scenario, order, free=bool(selectors.traits(part.name).blind))
    if not found.select:
        return fit("single-best", scenario, seed=seed)
    return Selection(
        part, state, scenario.name, scenario.algorithms, scenario.features, scenario.cutoff, tuple(means.tolist()),
        found.schedule, found.turns,
    )  # fmt: skip

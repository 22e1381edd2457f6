"""What algorithms did on instances: features, run times, time-outs, what features cost, and official folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import DataError, ShapeError, first_of, unknown_name

Array = NDArray[np.float64]


class Step(NamedTuple):
    """Features that are computed together. provides: their names. requires: steps that must run before."""

    provides: tuple[str, ...]
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """n instances, A algorithms, D features.

    x: features (n, D), NaN where one is missing. times: (n, A), seconds of each run; where `cutoff` is infinite, any
    measure that should be small. finished: (n, A), whether the run ended well within the cutoff. cutoff: seconds after
    which a run is stopped. steps: which features are computed together. costs: (n, steps), their seconds. folds: (n,),
    the number of each instance's official fold, from 1; 0 where there is none.

    Raises ShapeError where sizes differ, and DataError for times that are negative or no numbers, infinite features,
    names that are there twice, and where no algorithm finishes any instance.
    """

    name: str
    instances: tuple[str, ...]
    algorithms: tuple[str, ...]
    features: tuple[str, ...]
    x: Array
    times: Array
    finished: NDArray[np.bool_]
    cutoff: float
    steps: Mapping[str, Step] = field(default_factory=dict)
    costs: Array = field(default_factory=lambda: np.zeros((0, 0)))
    folds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        n, count = len(self.instances), len(self.algorithms)
        if self.costs.size == 0:
            object.__setattr__(self, "costs", np.zeros((n, len(self.steps))))
        if self.folds.size == 0:
            object.__setattr__(self, "folds", np.zeros(n, dtype=np.int64))
        sizes = {"x": (n, len(self.features)), "times": (n, count), "finished": (n, count),
                 "costs": (n, len(self.steps)), "folds": (n,)}  # fmt: skip
        for what, size in sizes.items():
            if (found := getattr(self, what).shape) != size:
                raise ShapeError(f"{what} of {self.name} has the shape {found}, expected {size}. Correct it.")
        for what, names in (("algorithms", self.algorithms), ("features", self.features)):
            if not names:
                raise DataError(f"{self.name} has no {what}, so there is nothing to choose by. Add some.")
            if len(set(names)) < len(names):
                raise DataError(f"Two {what} of {self.name} have one name. Rename one.")
        if not n:
            raise DataError(f"{self.name} has no instances. Add some.")
        if not self.cutoff > 0:
            raise DataError(f"The cutoff of {self.name} is {self.cutoff}, expected seconds above 0. Correct it.")
        self._check_numbers()

    def _check_numbers(self) -> None:
        timed = np.isfinite(self.cutoff)
        wrong = ~np.isfinite(self.times) | ((self.times < 0) if timed else False)
        wrong &= self.finished
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{self.algorithms[column]} finished {self.instances[row]} of {self.name} in "
                f"{self.times[row, column]}, expected a number of seconds. Correct it, or say that it did not finish."
            )
        if np.isinf(self.x).any():
            row, column = np.argwhere(np.isinf(self.x))[0]
            raise DataError(
                f"The feature {self.features[column]!r} of {self.instances[row]} is infinite. Write NaN where it is "
                "not known."
            )
        if not self.finished.any():
            raise DataError(
                f"No algorithm finishes any instance of {self.name} within {self.cutoff:g}, so that all are alike. "
                "Give a longer cutoff, or check which runs are said to have ended well."
            )

    @classmethod
    def of(
        cls,
        x: Any,
        times: Any,
        *,
        cutoff: float = np.inf,
        name: str = "scenario",
        instances: Sequence[str] = (),
        algorithms: Sequence[str] = (),
        features: Sequence[str] = (),
        **more: Any,
    ) -> Self:
        """From arrays: features x (n, D), and times (n, A), of which those above `cutoff`, and infinite ones, are of
        runs that did not finish. Without a cutoff, any measure that should be small. more: as of the class.

        >>> Scenario.of([[0.1], [0.9]], [[1, 60], [60, 2]], cutoff=50).penalised().tolist()
        [[1.0, 500.0], [500.0, 2.0]]
        """
        values, seconds = np.asarray(x, dtype=np.float64), np.asarray(times, dtype=np.float64)
        if values.ndim != 2 or seconds.ndim != 2:
            raise ShapeError(f"x and times have {values.ndim} and {seconds.ndim} axes, expected 2 each. Reshape them.")
        if np.isnan(seconds).any():
            row, column = np.argwhere(np.isnan(seconds))[0]
            raise DataError(
                f"The time of algorithm {column} on instance {row} is NaN. Write infinity where it did not finish."
            )
        n, count, width = len(seconds), seconds.shape[1], values.shape[1]
        return cls(
            name,
            tuple(instances) or tuple(f"instance {i}" for i in range(n)),
            tuple(algorithms) or tuple(f"algorithm {i}" for i in range(count)),
            tuple(features) or tuple(f"feature {i}" for i in range(width)),
            values,
            seconds,
            np.isfinite(seconds) & (seconds <= cutoff),
            float(cutoff),
            **more,
        )

    @property
    def timed(self) -> bool:
        """Whether runs are measured in seconds and stopped."""
        return bool(np.isfinite(self.cutoff))

    def penalised(self, factor: float = 10.0) -> Array:
        """Times (n, A) where what did not finish counts as `factor` times the cutoff: PAR10, PAR2, PAR1.

        Without a cutoff, the measure itself; what failed is as bad as the worst on that instance.
        """
        if self.timed:
            return np.where(self.finished, self.times, factor * self.cutoff)
        known = np.where(self.finished, self.times, -np.inf)
        worst = np.where(self.solvable, known.max(axis=1), known.max())
        return np.where(self.finished, self.times, worst[:, None])

    @property
    def solvable(self) -> NDArray[np.bool_]:
        """(n,): whether any algorithm finishes the instance."""
        return np.asarray(self.finished.any(axis=1))

    @property
    def blind(self) -> NDArray[np.bool_]:
        """(n,): whether all features of the instance are missing."""
        return np.asarray(np.isnan(self.x).all(axis=1))

    @property
    def hopeless(self) -> tuple[str, ...]:
        """The algorithms that finish no instance."""
        return tuple(name for i, name in enumerate(self.algorithms) if not self.finished[:, i].any())

    @property
    def cost(self) -> Array:
        """(n,): seconds that all features of an instance take; what is not known counts as nothing, as ASlib has it."""
        seconds: Array = np.nan_to_num(self.costs).sum(axis=1)
        return seconds

    def rows(self, chosen: NDArray[Any]) -> Scenario:
        """Of some instances only: numbers (with repeats, for a bootstrap sample), or one truth value for each."""
        at = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        if len(at) == 0:
            raise DataError(f"No instances of {self.name} are left. Choose others.")
        return replace(
            self, instances=tuple(self.instances[i] for i in at), x=self.x[at], times=self.times[at],
            finished=self.finished[at], costs=self.costs[at], folds=self.folds[at],
        )  # fmt: skip

    def told_by(self, names: Iterable[str]) -> Scenario:
        """With the features of some steps only, and of the steps that they require; costs are of those."""
        wanted, open_ = list[str](), list(names)
        while open_:
            step = open_.pop()
            if step not in self.steps:
                raise unknown_name(f"feature step of {self.name}", step, self.steps)
            if step not in wanted:
                wanted.append(step)
                open_ += self.steps[step].requires
        kept = [step for step in self.steps if step in wanted]
        provided = {feature for step in kept for feature in self.steps[step].provides}
        columns = [i for i, feature in enumerate(self.features) if feature in provided]
        if not columns:
            raise DataError(f"The steps {first_of(kept)} of {self.name} provide no features. Choose others.")
        order = [*self.steps]
        return replace(
            self, features=tuple(self.features[i] for i in columns), x=self.x[:, columns],
            steps={step: self.steps[step] for step in kept}, costs=self.costs[:, [order.index(s) for s in kept]],
        )  # fmt: skip

"""Whether an average is worth having: never one that is worse than its best member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from quickstudy.averaging.means import Models, named
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, ModelError, ShapeError
from quickstudy.evaluation.estimate import Estimate

Values = Callable[[Params], Tensor]
"""Of a model the value in each of some held-out tasks, (T,): the same tasks for every model, and higher is better."""


@dataclass(frozen=True)
class Verdict:
    """What an average is beside its best member. best: that one's name. difference: of the average's values and its, in
    the same held-out tasks; below 0 the average is worse."""

    best: str
    difference: Estimate

    @property
    def worse(self) -> bool:
        """Whether the average is worse in the mean over these tasks."""
        return self.difference.mean < 0

    @property
    def sure(self) -> bool:
        """Whether the interval of the difference leaves 0 out."""
        return abs(self.difference.mean) > self.difference.ci95

    def __str__(self) -> str:
        way = "worse than" if self.worse else "better than" if self.difference.mean > 0 else "as good as"
        by = f" by {Estimate(abs(self.difference.mean), self.difference.ci95)}" if self.difference.mean else ""
        doubt = "" if self.sure or not self.difference.mean else ", which may be chance"
        return f"{way} {self.best!r}{by} over {self.difference.count} held-out tasks (95 % interval){doubt}"


def verdict(average: Params, models: Models, values: Values, chosen: Values | None = None) -> Verdict:
    """The average beside the best of its models.

    values: of the tasks that the two are compared in. chosen: of those by which the best is found, so that it is not
    found by the luck that it is then measured by; the same if not given. Raises ShapeError where two models have values
    for different numbers of tasks, and ConfigError for fewer than two, which have no interval.
    """
    by_name = named(models)
    means = {name: float((chosen or values)(model).double().mean()) for name, model in by_name.items()}
    there = {name: value for name, value in means.items() if value == value}
    if not there:
        raise ConfigError("No model has a value that is a number. Look at what `values` returns.")
    best = max(there, key=lambda name: there[name])
    mine, its = values(average).double(), values(by_name[best]).double()
    if mine.shape != its.shape or mine.dim() != 1:
        raise ShapeError(
            f"The average has values of the shape {tuple(mine.shape)} and {best!r} of {tuple(its.shape)}, expected one "
            "for each of the same tasks, (T,). Measure both on the same tasks."
        )
    if len(mine) < 2:
        raise ConfigError(f"Held-out tasks must be 2 or more to compare models in, found {len(mine)}. Give more.")
    return Verdict(best, Estimate.of(mine - its))


def no_worse(average: Params, models: Models, values: Values, chosen: Values | None = None) -> Verdict:
    """`verdict`, which raises ModelError where the average is worse than the best of its models.

    >>> import torch
    >>> members = {"a": {"w": torch.tensor([0.0])}, "b": {"w": torch.tensor([4.0])}}
    >>> tasks = torch.tensor([0.0, 0.1, -0.1])  # of each the best w
    >>> print(verdict(mean(members), members, lambda model: -(model["w"] - tasks).abs()))  # doctest: +SKIP
    worse than 'a' by 1.93 ± 0.13 over 3 held-out tasks (95 % interval)
    """
    found = verdict(average, models, values, chosen)
    if found.worse:
        raise ModelError(
            f"The average is {found}. Use {found.best!r} alone, choose members by a greedy soup, or average models "
            "that were trained from one start; to have it nevertheless, say so: --even-if-worse, even_if_worse=True."
        )
    return found

"""What a closed-form learner has to know of a support set to go on: sums, to which further examples are added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from quickstudy.entries import prefixed, with_prefix
from quickstudy.episode import Params, State

_LABEL = "y"
_PARTS = ("each", "every", "rows")


class Tally(NamedTuple):
    """Sums over a support set from which ψ follows: of two sets, ψ of both follows from the sum of their tallies.

    each: sums over the examples of each class, (N, …), their 'counts' (N,) among them. every: sums over all examples.
    rows: of each example (n, …) what its learner cannot sum up, with its label as 'y'.
    """

    each: State = {}  # noqa: RUF012 - nobody writes to it
    every: State = {}  # noqa: RUF012
    rows: State = {}  # noqa: RUF012

    @property
    def ways(self) -> int:
        """How many classes the sums are of; 0 where they are of none."""
        return len(next(iter(self.each.values()))) if self.each else 0

    @property
    def counts(self) -> Tensor | None:
        """How many examples each class has (N,), where that is known."""
        return self.each.get("counts")

    def placed(self, numbers: Sequence[int], ways: int) -> Self:
        """The same for a task of so many classes. numbers: what the classes are called there; −1 for one that is none
        any more, whose sums and rows go."""
        at = torch.tensor(list(numbers), dtype=torch.int64)
        stay = at >= 0

        def spread(sums: Tensor) -> Tensor:
            found = sums.new_zeros((ways, *sums.shape[1:]))
            found[at[stay].to(sums.device)] = sums[stay.to(sums.device)]
            return found

        rows = self.rows
        if rows and _LABEL in rows and not rows[_LABEL].is_floating_point():
            y = at.to(rows[_LABEL].device)[rows[_LABEL]]
            rows = {name: value[y >= 0] for name, value in (rows | {_LABEL: y}).items()}
        return self._replace(each={name: spread(sums) for name, sums in self.each.items()}, rows=rows)

    def plus(self, other: Tally, sign: int = 1) -> Self:
        """The tally of both sets; with −1, of the first without the second, which it must hold: sums alone can do that.

        Both are of as many classes.
        """
        each = {name: sums + sign * other.each[name] for name, sums in self.each.items()}
        every = {name: sums + sign * other.every[name] for name, sums in self.every.items()}
        rows = {name: torch.cat([value, other.rows[name]]) for name, value in self.rows.items()}
        return self._replace(each=each, every=every, rows=rows)

    def entries(self) -> Params:
        """All of it as one flat mapping."""
        named = {part: with_prefix(f"{part}.", getattr(self, part)) for part in _PARTS}
        return {name: value for held in named.values() for name, value in held.items()}

    @classmethod
    def of(cls, entries: Params) -> Self | None:
        """The inverse of `entries`; None of an empty mapping."""
        return cls(*(prefixed(f"{part}.", entries) for part in _PARTS)) if entries else None

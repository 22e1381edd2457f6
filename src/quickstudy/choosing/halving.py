"""Which trial to train next, and how long: successive halving that never waits.

A trial that is among the best third of those at its rung goes to the next one, where it is trained three times as long;
where there is none, a new trial begins (ASHA, Li et al. 2020, "A system for massively parallel hyperparameter tuning").
What to do next follows from the record and from what is being trained, so that a search that was killed goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quickstudy.choosing.record import Record, Trial

THIRD = 3
"""One in so many goes on, so many times as long."""


@dataclass(frozen=True)
class Step:
    """A trial to train to a rung. before: the rung that it comes from; None for a new trial."""

    trial: int
    rung: int
    before: Trial | None = None


@dataclass
class Halving:
    """first: seconds of training at rung 0, so that at rung r they are `first` · 3^r in all. rungs: how many there are.
    running: what is being trained, as (trial, rung)."""

    record: Record
    first: float
    rungs: int
    running: set[tuple[int, int]] = field(default_factory=set)

    def seconds(self, rung: int) -> float:
        """Of training between the rung before and this one."""
        up_to = self.first * float(THIRD) ** rung
        return up_to - up_to / THIRD if rung else up_to

    def next(self, left: float) -> Step | None:
        """What to train next, in `left` seconds at most; None where nothing fits into them."""
        for rung in range(self.rungs - 1, 0, -1):
            if self.seconds(rung) <= left and (one := self._promoted(rung - 1)) is not None:
                return Step(one.trial, rung, one)
        if self.first > left:
            return None
        known = [t.trial for t in self.record.trials] + [trial for trial, _ in self.running]
        return Step(max(known, default=-1) + 1, 0)

    def _promoted(self, rung: int) -> Trial | None:
        """The best trial of a rung that may go on and has not yet."""
        there = self.record.at(rung)
        gone = {t.trial for t in self.record.trials if t.rung == rung + 1}
        gone |= {trial for trial, at in self.running if at == rung + 1}
        for one in there[: len(there) // THIRD]:
            if one.trial not in gone and not there[0].beats(one, self.record.sign):
                return one
        return None

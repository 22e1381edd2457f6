"""What past tasks say of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quickstudy.errors import ConfigError, DataError
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.losses import emphasised, in_units
from quickstudy.select.warm.pool import Pool
from quickstudy.select.warm.ridge import Units, smoothed
from quickstudy.space import Array, Space, key

Level = Literal["plain", "logit"]
_FEW = 20
"""Candidates of which fewer say nothing of a correlation."""
_ROUNDING = 1e-20
"""Squares of differences that are none, as a share of the squares."""


@dataclass(frozen=True)
class Likings:
    """What past tasks say of n candidates.

    liking: (K, n), how much each of K tasks likes each candidate, in deviations; losses: (K, n), what it lost there, or
    would by all that is known of the task. known: (K, 2), its least and greatest loss; those of `losses` if not given.
    """

    tasks: tuple[str, ...]
    liking: Array
    losses: Array
    known: Array | None = None

    @classmethod
    def of(cls, pool: Pool, experience: Experience, rich: Space | None = None, own: float | None = None) -> Likings:
        """From the trials of the tasks that say something; DataError where none does.

        A ridge regression on descriptions says what a task thinks of each candidate, tried there or not. Of what it
        leaves unexplained of a candidate that was tried, the share `own` is believed; the rest is taken for chance, as
        of initial weights. If not given it is how far the tasks agree about that: the mean correlation of what is
        left, over candidates that two of them tried; a half where there are none. rich: the space with a description
        for this, which may have many columns; the experience's own if not given.
        """
        tasks = experience.useful
        if not tasks:
            raise DataError("No past task has two different losses. Give some experience, or use `predicted`.")
        space = rich or experience.space
        x = pool.x if rich is None else rich.encode(pool.points)
        units = Units.of(x)
        rows = units(x)
        many = np.sqrt(rows.shape[1])
        explained, left = [], np.full((len(tasks), len(x), 2), np.nan)
        for number, task in enumerate(tasks):
            both = np.stack([emphasised(task.losses), task.losses], 1)
            places = np.array([pool.place.get(key(point), -1) for point in task.points], dtype=np.int64)
            known = places >= 0
            tried = rows[places] if known.all() else units(space.encode(task.points))
            explained.append(smoothed(many * tried, both, at=many * rows))
            left[number, places[known]] = both[known] - explained[-1][places[known]]
        liked = np.argsort(-np.mean(explained, axis=0)[:, 0], kind="stable")[: max(len(x) // 20, _FEW)]
        share = _agreement(left[:, liked, 0]) if own is None else own
        found = np.array(explained) + share * np.nan_to_num(left)
        liking = np.array([in_units(one, "plain") for one in found[:, :, 0]])
        ends = np.array([[task.losses.min(), task.losses.max()] for task in tasks])
        return cls(tuple(task.name for task in tasks), liking, found[:, :, 1], ends)

    def expected(self, tried: Sequence[int], losses: Array, level: Level = "plain") -> Array:
        """How much a new task will like each candidate, (n,), after `losses` (m,) of those `tried`.

        The tasks' likings, regressed for each candidate on the tasks' levels and read off at the new task's, whether
        between theirs or beyond: the level is the mean loss of the candidates tried, as log-odds or as it is. Their
        mean before the first trial, or where all levels are equal.
        """
        if not len(tried):
            return np.asarray(self.liking.mean(0))
        ours = float(_level(losses, level).mean())
        theirs = _level(self._possible(tried, level), level).mean(1)
        apart = theirs - theirs.mean()
        spread = float((apart**2).sum())
        beyond = (ours - theirs.mean()) / spread if spread > _ROUNDING * float((theirs**2).sum()) else 0.0
        return np.asarray((1 / len(self.tasks) + beyond * apart) @ self.liking)

    def _possible(self, tried: Sequence[int], level: Level) -> Array:
        """(K, m), the losses of those `tried`. A regression knows no bounds, but log-odds do: there a loss lies at
        least half as far from 0 and 1 as all that the task is known to have."""
        losses = self.losses[:, list(tried)]
        if level == "plain" or self.known is None:
            return losses
        _level(self.known, level)  # or the user's own losses have none
        return np.clip(losses, self.known[:, :1] / 2, (1 + self.known[:, 1:]) / 2)


def _agreement(left: Array) -> float:
    """The mean correlation between the rows of (K, n), between 0 and 1; NaN where a task did not try a candidate."""
    found = []
    for a in range(len(left)):
        for b in range(a):
            both = np.isfinite(left[a]) & np.isfinite(left[b])
            if both.sum() >= _FEW and left[a, both].std() > 0 and left[b, both].std() > 0:
                found.append(float(np.corrcoef(left[a, both], left[b, both])[0, 1]))
    return min(max(float(np.mean(found)), 0.0), 1.0) if found else 0.5


def _level(losses: Array, level: Level) -> Array:
    if level == "plain":
        return losses
    if (losses <= 0).any() or (losses >= 1).any():
        raise ConfigError(
            f"A loss of {losses.min():g} to {losses.max():g} has no log-odds. Give losses between 0 and 1, such as "
            "shares that are wrong, or choose level='plain'."
        )
    return np.asarray(np.log(losses / (1 - losses)))

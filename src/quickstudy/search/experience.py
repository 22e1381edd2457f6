"""What was tried on other tasks, and a strategy that begins where they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.search.base import Known, Pool
from quickstudy.search.gaussian import emphasised, like_units, smoothed, standard
from quickstudy.search.predicted import Predicted
from quickstudy.space import Array, Values, key

Level = Literal["logit", "plain"]
_FEW = 20
"""Candidates of which fewer say nothing of a correlation."""


@dataclass(frozen=True)
class Experience:
    """What other tasks say of the candidates of a pool.

    liking: (K, n), how much each of K tasks likes each candidate, in deviations; scores: (K, n), what it scored there,
    or would by all that is known of the task.
    """

    tasks: tuple[str, ...]
    liking: Array
    scores: Array

    @classmethod
    def of(
        cls,
        pool: Pool,
        tasks: Mapping[str, tuple[Sequence[Values], Sequence[float]]],
        rich: Array | None = None,
        own: float | None = None,
    ) -> Experience:
        """From the trials of other tasks: of each, points and their scores, the higher the better.

        A ridge regression on descriptions says what a task thinks of each candidate, tried there or not. Of what it
        leaves unexplained of a candidate that was tried, the share `own` is believed; the rest is taken for chance, as
        of initial weights. If not given it is how far the tasks agree about that: the mean correlation of what is
        left, over candidates that two of them tried; a half where there are none. rich: (n, D), descriptions of the
        candidates for this, which may have many columns; the pool's own if not given.
        """
        if not tasks:
            raise DataError("Experience of no task. Give at least one, or use the strategy 'predicted'.")
        x = pool.units if rich is None else like_units(rich)
        if len(x) != len(pool.points):
            raise ShapeError(f"{len(x)} descriptions of {len(pool.points)} candidates. Describe each by one row.")
        x = x * np.sqrt(x.shape[1])
        explained, left = [], np.full((len(tasks), len(x), 2), np.nan)
        for task, (name, (points, told)) in enumerate(tasks.items()):
            rows, scores = _tried(pool, name, points, told)
            both = np.stack([emphasised(scores), scores], 1)
            explained.append(smoothed(x[rows], both, at=x))
            left[task, rows] = both - explained[-1][rows]
        liked = np.argsort(-np.mean(explained, axis=0)[:, 0], kind="stable")[: max(len(x) // 20, _FEW)]
        share = _agreement(left[:, liked, 0]) if own is None else own
        found = np.array(explained) + share * np.nan_to_num(left)
        return cls(tuple(tasks), np.array([standard(liking) for liking in found[:, :, 0]]), found[:, :, 1])

    def expected(self, tried: Sequence[int], scores: Array, level: Level = "logit") -> Array:
        """How much a new task will like each candidate, (n,), after `scores` (m,) of those `tried`.

        The tasks' likings, regressed for each candidate on the tasks' levels and read off at the new task's, whether
        between theirs or beyond: the level is the mean score of the candidates tried, as log-odds or as it is. Their
        mean before the first trial, or where all levels are equal.
        """
        if not len(tried):
            return np.asarray(self.liking.mean(0))
        ours = float(_level(scores, level).mean())
        theirs = _level(self.scores[:, list(tried)], level).mean(1)
        apart = theirs - theirs.mean()
        spread = float((apart**2).sum())
        beyond = (ours - theirs.mean()) / spread if spread > 1e-12 else 0.0
        return np.asarray((1 / len(self.tasks) + beyond * apart) @ self.liking)


def _tried(pool: Pool, name: str, points: Sequence[Values], told: Sequence[float]) -> tuple[NDArray[np.int64], Array]:
    """The candidates that a task tried, and their scores there."""
    scores = np.asarray(told, dtype=np.float64)
    if scores.shape != (len(points),) or not np.isfinite(scores).all():
        raise DataError(f"The task {name!r} has {len(points)} points, and not as many finite scores. Correct it.")
    places = [pool.place.get(key(point), -1) for point in points]
    rows = np.array(places, dtype=np.int64)
    if len(set(rows[rows >= 0].tolist())) < 2 or np.ptp(scores[rows >= 0]) == 0:
        raise DataError(f"The task {name!r} tried no two of the candidates with different scores. Leave it out.")
    return rows[rows >= 0], scores[rows >= 0]


def _agreement(left: Array) -> float:
    """The mean correlation between the rows of (K, n), between 0 and 1; NaN where a task did not try a candidate."""
    found = []
    for a in range(len(left)):
        for b in range(a):
            both = np.isfinite(left[a]) & np.isfinite(left[b])
            if both.sum() >= _FEW and left[a, both].std() > 0 and left[b, both].std() > 0:
                found.append(float(np.corrcoef(left[a, both], left[b, both])[0, 1]))
    return min(max(float(np.mean(found)), 0.0), 1.0) if found else 0.5


def _level(scores: Array, level: Level) -> Array:
    if level == "plain":
        return scores
    if (scores <= 0).any() or (scores >= 1).any():
        raise ConfigError(
            f"A score of {scores.min():g} to {scores.max():g} has no log-odds. Give scores between 0 and 1, such as "
            "shares that are right, or choose level='plain'."
        )
    return np.asarray(np.log(scores / (1 - scores)))


@dataclass(frozen=True, kw_only=True)
class Experienced(Predicted):
    """Begins with what other tasks like, and after `start` trials weighs it by how far this task agrees.

    Until then the candidate that is expected to be liked most is tried. From then on the expectation is one more
    description of a candidate, a linear one with the variance `trust`, of the Gaussian process of `predicted`.

    experience: of other tasks, over the same candidates in the same order. level: how scores of a task give its level.
    """

    experience: Experience
    level: Level = "logit"
    trust: float = 1.0

    def values(self, known: Known, rng: np.random.Generator) -> Array:
        if self.experience.liking.shape[1] != len(known.pool.points):
            raise ShapeError(
                f"The experience is of {self.experience.liking.shape[1]} candidates, and there are "
                f"{len(known.pool.points)}. Make both from one pool."
            )
        expected = self.experience.expected(known.tried, known.scores, self.level)
        if len(known.tried) < self.start:
            return expected
        column = np.sqrt(self.trust) * standard(expected)
        return self.regressed(np.column_stack([known.pool.units, column]), np.arange(len(column)), known, rng)

    def ask(self, known: Known, rng: np.random.Generator) -> Values:
        return self.chosen(known, rng)

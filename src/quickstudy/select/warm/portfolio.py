"""Portfolios: a few points that together were good on all past tasks."""

from __future__ import annotations

import numpy as np

from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.losses import in_units, normalised
from quickstudy.select.warm.surfaces import Surfaces
from quickstudy.space import Array, Points, Space, Values, key

LARGEST = 2000
"""Points among which a portfolio is chosen; of more, those that were best on some task."""


def table(experience: Experience) -> tuple[list[Values], Array]:
    """All points that were tried (n), and the normalised regret of each on each task (n, T).

    Where tasks do not share their points, Gaussian processes fill in what is missing.
    """
    groups = experience.groups()
    if not groups:
        return [], np.zeros((0, 0))
    if len(groups) == 1:
        return list(groups[0].points), normalised(groups[0].losses)
    rank: dict[str, tuple[Values, float]] = {}
    for group in groups:
        best = in_units(group.losses, "ranks").min(axis=1)
        for point, value in zip(group.points, best, strict=True):
            old = rank.get(key(point))
            rank[key(point)] = (point, value if old is None else min(value, old[1]))
    points = [point for point, _ in sorted(rank.values(), key=lambda one: one[1])[:LARGEST]]
    place = {key(point): i for i, point in enumerate(points)}
    surfaces = Surfaces.of(experience, "plain")
    losses = surfaces.values(experience.space.encode(points))
    at = 0
    for group in groups:
        known = in_units(group.losses, "plain")
        for row, point in enumerate(group.points):
            if (i := place.get(key(point))) is not None:
                losses[i, at : at + known.shape[1]] = known[row]
        at += known.shape[1]
    return points, normalised(losses)


def portfolio(experience: Experience, size: int, space: Space | None = None) -> list[Values]:
    """At most `size` points, each the one that with those before it has the least mean over tasks of the best
    normalised regret (greedily, as in Feurer et al. 2022, "Auto-sklearn 2.0"); of equal ones that with the least mean
    regret of its own. Empty without experience. space: if only some points may be asked for, these `Points`.

    Raises ConfigError for a size below 1.
    """
    if size < 1:
        raise ConfigError(f"A portfolio of {size} points proposes nothing. Ask for 1 or more.")
    points, regret = table(experience)
    if not points:
        return []
    allowed = {key(point) for point in space.listed} if isinstance(space, Points) else None
    free = np.array([allowed is None or key(point) in allowed for point in points], dtype=bool)
    own, best = regret.mean(axis=1), np.ones(regret.shape[1])
    chosen: list[int] = []
    while free.any() and len(chosen) < size:
        together = np.where(free, np.round(np.minimum(best, regret).mean(axis=1), 12), np.inf)
        one = int(np.where(together == together.min(), own, np.inf).argmin())
        chosen.append(one)
        free[one] = False
        best = np.minimum(best, regret[one])
    return [points[i] for i in chosen]


def as_optuna(study: object, experience: Experience, size: int) -> int:
    """Let an Optuna study try a portfolio first; returns how many points it will. The objective must ask for the
    options by the names that they have in the space.

    Raises ConfigError for what is no study.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra("optuna", "select", "Enqueueing a portfolio") from error
    if not isinstance(study, optuna.Study):
        raise ConfigError(f"{type(study).__name__} is no Optuna study. Give what `optuna.create_study` returned.")
    points = portfolio(experience, size)
    for point in points:
        study.enqueue_trial(point, skip_if_exists=True)
    return len(points)

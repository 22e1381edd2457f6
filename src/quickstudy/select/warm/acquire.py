"""Expected improvement, and where in a space it is greatest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quickstudy.select.warm.numerics import normal_cdf
from quickstudy.select.warm.pool import Pool
from quickstudy.select.warm.strategy import Tried, untried
from quickstudy.space import Array, Space, Values, key

Score = Callable[[Array, Array | None], Array]
"""From points (m, columns), and what a pool has of them, to how much each is worth trying (m,)."""

LOCAL, LEADERS, ROUNDS = 40, 3, 4
"""Neighbours looked at, of how many of the best trials, and steps from the best candidate."""


def log_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """log E max(best − f, 0) for f ~ N(mean, deviation²), (m,): also where it is too small for a float (Ament et al.
    2023)."""
    z = (best - mean) / deviation
    near = z > -6
    zs = np.where(near, z, -6.0)
    inside = np.log(np.maximum(zs * normal_cdf(zs) + np.exp(-0.5 * zs**2) / np.sqrt(2 * np.pi), 1e-300))
    far = np.minimum(z, -6.0)  # φ(z) + z Φ(z) → φ(z) / z² · (1 − 3 / z² + 15 / z⁴ − …)
    tail = -0.5 * far**2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(-far) + np.log1p(-3 / far**2 + 15 / far**4)
    return np.asarray(np.where(near, inside, tail) + np.log(deviation))


def best_point(score: Score, pool: Pool, space: Space, tried: Tried, rng: np.random.Generator) -> Values:
    """The untried point of greatest score: of the pool, of neighbours of the best trials, and then step by step of
    neighbours of the best of these."""
    taken = tried.keys
    free = np.array([name not in taken for name in pool.keys])
    scores = np.where(free, score(pool.x, pool.known), -np.inf)
    at = int(scores.argmax())
    best, top = (pool.points[at], float(scores[at])) if free.any() else (None, -np.inf)
    leaders = [tried.points[int(i)] for i in np.argsort(tried.losses, kind="stable")[:LEADERS]]
    rounds = [leaders, *[[]] * ROUNDS] if space.count > len(pool.points) else []
    for centres in rounds:
        around = centres or ([best] if best is not None else [])
        steps = [point for one in around for _ in range(LOCAL) if key(point := near(space, one, rng)) not in taken]
        if not steps:
            continue
        found = score(space.encode(steps), None)
        if found.max() > top:
            best, top = steps[int(found.argmax())], float(found.max())
    return untried(space, tried, rng) if best is None else best


def near(space: Space, point: Values, rng: np.random.Generator) -> Values:
    """One or several options changed a little."""
    for _ in range(1 + int(rng.integers(3))):
        point = space.near(point, rng)
    return point

"""Two aims at once: which points no other beats in both, and one number for both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import ConfigError
from quickstudy.space import Array


def front(scores: Array, costs: Array) -> NDArray[np.int64]:
    """The numbers of the points that no other point beats in one and equals or beats in the other, by rising cost.

    scores: (n,), the higher the better; costs: (n,), the lower the better. Of equal points all are kept.

    >>> front(np.array([1.0, 3.0, 2.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [0, 1]
    """
    kept: list[int] = []
    best = -np.inf  # of what costs less
    order = np.lexsort((-scores, costs))
    for i in order:
        if scores[i] > best or (kept and scores[i] == scores[kept[-1]] and costs[i] == costs[kept[-1]]):
            kept.append(int(i))
            best = scores[i]
    return np.array(kept, dtype=np.int64)


def spread(scores: Array, costs: Array, few: int) -> list[int]:
    """At most `few` points, the best by score first: of the front evenly by its order, its ends included, and if it has
    fewer, the others by score. scores, costs: as for `front`.

    >>> spread(np.array([1.0, 3.0, 2.0]), np.array([1.0, 2.0, 3.0]), 3)
    [1, 2, 0]
    """
    there = front(scores, costs)
    picked = {int(there[round(i)]) for i in np.linspace(len(there) - 1, 0, min(few, len(there)))}
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    more = [i for i in order if i not in picked][: few - len(picked)]
    return [i for i in order if i in picked or i in more]


def reward(scores: Array, latency: Array, target: float, within: float = 0.0, beyond: float = -1.0) -> Array:
    """score · (latency / target)^w, w being `within` up to the target and `beyond` above it (MnasNet, Tan et al. 2019).

    Their hard limit is (0, −1); their soft one (−0.07, −0.07), by which twice the latency is worth five per cent of
    accuracy. scores: (n,), above 0; latency: (n,), in the target's unit.
    """
    if not (target > 0 and (np.asarray(latency) > 0).all() and (np.asarray(scores) >= 0).all()):
        raise ConfigError("A reward needs a target and latencies above 0, and scores not below it. Correct it.")
    ratio = np.asarray(latency) / target
    return np.asarray(scores * ratio ** np.where(ratio <= 1, within, beyond))

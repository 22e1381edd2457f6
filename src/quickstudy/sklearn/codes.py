"""More classes than a network tells apart: it tells groups of them apart, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_APART = 3  # in how many codes any two classes are in different groups: one answer may be wrong
_STEPS = 200


def codebook(classes: int, limit: int | None, draw: np.random.RandomState) -> Array:
    """In which group each class is, (codes, classes): error-correcting codes (Dietterich & Bakiri 1995).

    limit: the most groups of a code. Where the classes are no more, there is one code, and every class is its own
    group. Otherwise classes are divided at random into groups of the same size, until any two are apart in three codes.
    """
    if limit is None or classes <= limit:
        return np.arange(classes)[None]
    codes: list[Array] = []
    apart = np.zeros((classes, classes), dtype=int)
    others = ~np.eye(classes, dtype=bool)
    while apart[others].min() < _APART:
        codes.append(draw.permutation(classes) % limit)
        apart += codes[-1][:, None] != codes[-1][None]
    return np.stack(codes)


def coupled(said: Sequence[Array], codes: Array) -> Array:
    """Probabilities of classes (n, classes) from those of groups, said[k] (n, groups) of the code k.

    Those whose sums over groups are the likeliest to have given what was said: the generalised Bradley–Terry model
    (Huang, Weng & Lin 2006), by its minorisation steps. Where what was said is exact, and the codes are enough to tell
    them, they are found again.
    """
    classes = codes.shape[1]
    if len(codes) == 1 and said[0].shape[1] == classes:
        return said[0][:, codes[0]]
    members = [np.eye(one.shape[1])[code] for one, code in zip(said, codes, strict=True)]  # (classes, groups)
    found = np.full((len(said[0]), classes), 1 / classes)
    for _ in range(_STEPS):
        ratios = [
            (one / np.maximum(found @ member, 1e-300))[:, code]
            for one, member, code in zip(said, members, codes, strict=True)
        ]
        found = found * np.mean(ratios, axis=0)
        found = found / found.sum(axis=1, keepdims=True)
    return found

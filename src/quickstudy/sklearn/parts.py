"""Tables that are larger than one network reads at once: rows are dealt out, columns chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def dealt(count: int, most: int, draw: np.random.RandomState, classes: Array | None = None) -> list[Array]:
    """Which of `count` rows each of several models reads, at most `most` each: every row is read by one.

    classes: of the rows, (count,); all parts then have the same mix of them. Of a class of fewer rows than there are
    parts each part has one, beyond `most`, so that no class is unknown to a model and some rows are read by several.
    """
    parts = -(-count // most)
    if parts <= 1:
        return [np.arange(count)]
    order = draw.permutation(count)
    if classes is None:
        return [np.sort(order[part::parts]) for part in range(parts)]
    order = order[np.argsort(classes[order], kind="stable")]
    names, counts = np.unique(classes, return_counts=True)
    rare = [np.resize(order[classes[order] == name], parts) for name in names[counts < parts]]
    common = order[~np.isin(classes[order], names[counts < parts])]
    return [np.sort(np.array([*common[part::parts], *(rows[part] for rows in rare)])) for part in range(parts)]


def telling(stored: Array, labels: Array, most: int) -> Array:
    """The `most` columns, in their order, that tell most of the labels, each by itself.

    That is the share of the labels' variance that a linear fit explains, adjusted for its degrees of freedom (R̄²,
    Theil 1961): of the number and of whether it is missing, or of a mean for each category. stored: rows as a format of
    tables has them, numbers (n, columns) or cells (n, columns, 3). labels: numbers (n,), or one-hot (n, classes).
    """
    y = labels.reshape(len(labels), -1).astype(float)
    y = y - y.mean(axis=0)
    shares = [_share(stored[:, column], y) for column in range(stored.shape[1])]
    return np.sort(np.argsort(-np.array(shares), kind="stable")[:most])


def _share(column: Array, y: Array) -> float:
    """R̄² of one column, (n,) or (n, 3), for centred labels y (n, q); −1 where it tells nothing."""
    if column.ndim == 1:
        design = column[:, None]
    elif (column[:, 2] > 0).any():
        design = (column[:, 2][:, None] == np.unique(column[:, 2])).astype(float)
    else:
        design = column[:, :2]
    design = design.astype(float) - design.mean(axis=0, dtype=float)
    basis, sizes, _ = np.linalg.svd(design, full_matrices=False)
    basis = basis[:, sizes > 1e-9 * max(sizes.max(initial=0.0), 1e-9)]
    free, total = len(y) - 1 - basis.shape[1], float((y**2).sum())
    if not basis.shape[1] or free < 1 or not total:
        return -1.0
    left = max(1 - float(((basis.T @ y) ** 2).sum()) / total, 0.0)
    return float(1 - left * (len(y) - 1) / free)

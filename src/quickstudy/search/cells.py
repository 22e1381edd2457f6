"""Cells of NAS-Bench-201 as a space, which of them compute the same, and what can be counted in one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from quickstudy.models.cell_text import EDGES, OPERATIONS, Cell, read_cell, write_cell
from quickstudy.space import Array, Choice, Space, Values

PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))
"""The ways from input to output, as numbers of edges."""
NONE, SKIP, SMALL, LARGE, POOL = range(len(OPERATIONS))
_NAMES = tuple(f"{start}-{end}" for start, end in EDGES)


def cell_space() -> Space:
    """Six edges, each with one of five operations: 15,625 points."""
    return Space({name: Choice(*OPERATIONS) for name in _NAMES})


def cell_of(point: Values) -> Cell:
    return tuple(point[name] for name in _NAMES)


def point_of(cell: Cell | str) -> Values:
    """The point of `cell_space` that a cell is, given as operations or as text."""
    return dict(zip(_NAMES, read_cell(cell) if isinstance(cell, str) else cell, strict=True))


def text_of(point: Values) -> str:
    return write_cell(cell_of(point))


def canonical(cell: Cell) -> str:
    """The same text for cells that compute the same, once their convolutions' weights are exchanged.

    Zeros and what leads nowhere is left out, a skip is the node itself, and a pooled sum is the sum of what is pooled.
    A convolution whose output is used twice differs from two convolutions of the same input, as they share weights.
    Zero is taken to stay zero in a convolution, as in the benchmark's own count.
    """
    sums: dict[int, list[tuple[int, int]]] = {0: [(-1, 0)], 1: [], 2: [], 3: []}
    inputs: dict[int, list[tuple[int, int]]] = {}  # of each convolution: (where from, how often pooled); -1: the cell's
    for edge, (start, end) in sorted(enumerate(EDGES), key=lambda one: one[1][1]):
        kind, terms = OPERATIONS.index(cell[edge]), sums[start]
        if kind in (SMALL, LARGE) and terms:
            inputs[edge] = terms
            sums[end] = [*sums[end], (edge, 0)]
        elif kind in (SKIP, POOL):
            sums[end] = [*sums[end], *((source, pooled + (kind == POOL)) for source, pooled in terms)]
    below = {-1: "x"}
    for edge in sorted(inputs, key=lambda k: EDGES[k][1]):
        below[edge] = f"{cell[edge][-3:]}({'+'.join(sorted(below[s] + '~' * pooled for s, pooled in inputs[edge]))})"
    named: dict[int, str] = {}
    for edge in sorted(inputs, key=lambda k: -EDGES[k][0]):
        users = [named[k] + "~" * pooled for k in inputs if k in named for s, pooled in inputs[k] if s == edge]
        users += ["y" + "~" * pooled for s, pooled in sums[3] if s == edge]
        if users:
            named[edge] = f"{below[edge]}->[{','.join(sorted(users))}]"
    return " ".join(sorted([*named.values(), *("x" + "~" * pooled for s, pooled in sums[3] if s == -1)]))


def _indices(points: Sequence[Values]) -> NDArray[np.int64]:
    """(n, 6), the number of each edge's operation."""
    number = {name: k for k, name in enumerate(OPERATIONS)}
    return np.array([[number[point[name]] for name in _NAMES] for point in points]).reshape(len(points), len(EDGES))


def counts(points: Sequence[Values]) -> Array:
    """(n, 13), what can be counted in a cell without training it.

    The most convolutions, and the most 3×3 ones, on a path from input to output; poolings, paths, 3×3 and 1×1
    convolutions over all paths; whether the input reaches the output unchanged; then of the edges that lie on a path,
    how many are skips, 1×1, 3×3 and poolings; last, multiplications in units of a 1×1 convolution, and how many edges
    lie on a path.
    """
    cells = _indices(points)
    alive = np.stack([(cells[:, path] != NONE).all(1) for path in map(list, PATHS)], 1)
    on_path = np.stack(
        [np.stack([(cells[:, path] == kind).sum(1) for path in map(list, PATHS)], 1) for kind in range(5)]
    )
    on_path = on_path * alive
    used = np.zeros(cells.shape, dtype=bool)
    for k, path in enumerate(PATHS):
        used[:, path] |= alive[:, [k]]
    kinds = np.stack([((cells == kind) & used).sum(1) for kind in (SKIP, SMALL, LARGE, POOL)], 1)
    through = ((on_path[SMALL] + on_path[LARGE] + on_path[POOL] == 0) & alive).any(1)
    return np.column_stack([
        (on_path[SMALL] + on_path[LARGE]).max(1), on_path[LARGE].max(1), on_path[POOL].sum(1), alive.sum(1),
        on_path[LARGE].sum(1), on_path[SMALL].sum(1), through, kinds, kinds[:, 1] + 9 * kinds[:, 2], used.sum(1),
    ]).astype(np.float64)  # fmt: skip


def path_encoding(points: Sequence[Values]) -> Array:
    """(n, 180), which sequence of operations lies on each path, as 0 and 1 (White et al. 2021)."""
    one_hot = np.eye(len(OPERATIONS))[_indices(points)]
    blocks = []
    for path in PATHS:
        block = one_hot[:, path[0]]
        for edge in path[1:]:
            block = np.einsum("na,nb->nab", block, one_hot[:, edge]).reshape(len(points), -1)
        blocks.append(block)
    return np.hstack(blocks)


def shortened_paths(points: Sequence[Values]) -> Array:
    """(n, 40), how many paths have each sequence of operations, skips left out and paths with a zero not counted."""
    operations = (SMALL, LARGE, POOL)
    sequences = [s for length in range(4) for s in product(operations, repeat=length)]
    column = {sequence: k for k, sequence in enumerate(sequences)}
    found = np.zeros((len(points), len(sequences)))
    for row, cell in zip(found, _indices(points), strict=True):
        for path in PATHS:
            kinds = [int(cell[edge]) for edge in path]
            if NONE not in kinds:
                row[column[tuple(kind for kind in kinds if kind != SKIP)]] += 1
    return found


def pairs(points: Sequence[Values]) -> Array:
    """(n, 405), the operation of each edge and of each two edges, as 0 and 1."""
    one_hot = np.eye(len(OPERATIONS))[_indices(points)]
    both = [
        np.einsum("na,nb->nab", one_hot[:, a], one_hot[:, b]).reshape(len(points), -1)
        for a in range(len(EDGES))
        for b in range(a)
    ]
    return np.hstack([one_hot.reshape(len(points), -1), *both])


def full(points: Sequence[Values]) -> Array:
    """(n, 458), all of these but `path_encoding`: to describe what was measured of thousands of cells."""
    return np.hstack([pairs(points), shortened_paths(points), counts(points)])

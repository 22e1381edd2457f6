"""Cells of NAS-Bench-201 (Dong & Yang 2020), written as the benchmark writes them.

A cell has four nodes. Node 0 is its input; node j is the sum of one operation on each node before it; node 3 is its
output.
"""

from __future__ import annotations

import re

from quickstudy.errors import DataError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From which node to which, in the order of the text."""

_OPERATION = r"\|([a-z_0-9]+)~"
_CELL = re.compile(r"\+".join("".join(_OPERATION + str(i) for i in range(j)) + r"\|" for j in (1, 2, 3)))

Cell = tuple[str, ...]
"""The operation of each edge, in the order of `EDGES`."""


def read_cell(text: str) -> Cell:
    """The operations of a cell; DataError where the text is none.

    >>> read_cell("|none~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_3x3~2|")[1]
    'skip_connect'
    """
    found = _CELL.fullmatch(text.strip())
    if found is None:
        raise DataError(f"{text!r:.120} is no cell. Write one as |A~0|+|B~0|C~1|+|D~0|E~1|F~2|, with six operations.")
    unknown = [name for name in found.groups() if name not in OPERATIONS]
    if unknown:
        raise DataError(f"A cell has the operation {unknown[0]!r}. Known: {', '.join(OPERATIONS)}.")
    return found.groups()


def write_cell(cell: Cell) -> str:
    """The text of a cell, the inverse of `read_cell`."""
    nodes = [
        "|" + "|".join(f"{cell[k]}~{start}" for k, (start, end) in enumerate(EDGES) if end == j) + "|"
        for j in (1, 2, 3)
    ]  # fmt: skip
    return "+".join(nodes)

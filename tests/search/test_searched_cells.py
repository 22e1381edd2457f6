"""Cells of NAS-Bench-201: their text, which of them compute the same, and what is counted in them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from quickstudy.errors import DataError
from quickstudy.models.cell_text import EDGES, OPERATIONS, read_cell, write_cell
from quickstudy.search import (
    canonical,
    cell_of,
    cell_space,
    counts,
    full,
    path_encoding,
    point_of,
    shortened_paths,
    text_of,
)

POINTS = list(cell_space().points())
TEXT = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"


def test_a_cell_is_read_and_written_as_published() -> None:
    assert read_cell(TEXT) == (
        "avg_pool_3x3", "nor_conv_1x1", "skip_connect", "nor_conv_1x1", "skip_connect", "skip_connect",
    )  # fmt: skip
    assert write_cell(read_cell(TEXT)) == TEXT
    assert len({text_of(point) for point in POINTS}) == 15_625
    assert all(cell_of(point_of(text_of(point))) == cell_of(point) for point in POINTS[::97])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(TEXT.replace("avg_pool_3x3", "max_pool_3x3"), "max_pool_3x3"), (TEXT[:-1], "six operations"), ("", "no cell")],
)
def test_a_text_that_is_no_cell_is_refused(wrong: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_cell(wrong)


def test_cells_are_alike_exactly_where_exchanging_weights_makes_them_compute_the_same() -> None:
    """Held against numbers: operations are functions of a weight, and a cell's output is averaged over all ways to
    hand six weights to its six edges."""
    weights = np.array(list(permutations(np.random.default_rng(0).uniform(0.5, 1.5, 6))))
    apply = {
        "none": lambda x, w: 0 * x, "skip_connect": lambda x, w: x, "avg_pool_3x3": lambda x, w: 0.6 * x,
        "nor_conv_1x1": lambda x, w: np.sin(w * x), "nor_conv_3x3": lambda x, w: np.tanh(1.3 * w * x),
    }  # fmt: skip
    rng = np.random.default_rng(1)
    some = [cell_of(POINTS[i]) for i in rng.choice(len(POINTS), 3000, replace=False)]
    said: dict[float, str] = {}
    for cell in some:
        nodes = [np.full(len(weights), 0.7), *np.zeros((3, len(weights)))]
        for edge, (start, end) in enumerate(EDGES):
            nodes[end] = nodes[end] + apply[cell[edge]](nodes[start], weights[:, edge])
        number = round(float(np.exp(nodes[3]).mean()), 9)
        assert said.setdefault(number, canonical(cell)) == canonical(cell)
    assert len(set(said.values())) == len(said) < len(some)


def test_there_are_5044_different_cells() -> None:
    assert len({canonical(cell_of(point)) for point in POINTS}) == 5044


def test_shared_weights_are_told_from_weights_of_their_own() -> None:
    shared = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
    apart = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
    assert canonical(read_cell(shared)) != canonical(read_cell(apart))


def test_what_is_counted_is_counted_on_paths_alone() -> None:
    # 3×3 to node 1, on to the output by a pooling; node 2 leads nowhere
    cell = "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
    assert counts([point_of(cell)]).tolist() == [[1, 1, 1, 2, 1, 0, 1, 1, 0, 1, 1, 9, 3]]
    assert shortened_paths([point_of(cell)]).sum() == 2
    assert path_encoding([point_of(cell)]).sum() == 4  # one of each path's sequences


def test_cells_that_compute_the_same_have_the_same_shortened_paths() -> None:
    found: dict[str, tuple[float, ...]] = {}
    for point, row in zip(POINTS, shortened_paths(POINTS), strict=True):
        assert found.setdefault(canonical(cell_of(point)), tuple(row)) == tuple(row)


def test_the_full_description_tells_all_cells_apart() -> None:
    x = full(POINTS)
    assert x.shape == (15_625, 458)
    assert len(np.unique(x, axis=0)) == len(POINTS)
    assert len(OPERATIONS) ** len(EDGES) == len(POINTS)

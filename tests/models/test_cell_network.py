"""Networks of NAS-Bench-201: their sizes are the published ones, and cells compute what they say."""

from __future__ import annotations

import pytest
import torch

from quickstudy.errors import DataError
from quickstudy.models.cell_network import SearchedCell
from quickstudy.models.cell_text import EDGES, OPERATIONS, read_cell, write_cell
from quickstudy.registry import formats, models, targets
from quickstudy.spec import TaskSpec


def images(size: int, channels: int = 1, ways: int = 5) -> TaskSpec:
    return TaskSpec(formats.make("image", size=size, channels=channels), targets.make("classes", ways=ways))


def test_the_largest_network_has_the_published_number_of_parameters() -> None:
    text = write_cell(("nor_conv_3x3",) * len(EDGES))
    module = models["searched"](images(32, channels=3, ways=10), cell=text)
    assert sum(p.numel() for p in module.parameters()) == 1_531_546


def test_a_cell_sums_over_its_paths() -> None:
    x = torch.randn(2, 4, 6, 6)
    skips = SearchedCell(("skip_connect",) * 6, 4, "none")
    torch.testing.assert_close(skips(x), 4 * x)  # as many paths lead from node 0 to node 3
    nothing = SearchedCell(("none",) * 6, 4, "none")
    assert not nothing(x).any()
    text = "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|"
    constant = torch.ones(2, 4, 6, 6)
    torch.testing.assert_close(SearchedCell(read_cell(text), 4, "none")(constant), 2 * constant)


def test_what_leads_nowhere_has_no_layer() -> None:
    # node 2 gets nothing, so what leaves it is no layer; what enters node 1 leads nowhere
    text = "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|"
    assert list(SearchedCell(read_cell(text), 4, "batch").operations) == ["0-3"]


@pytest.mark.parametrize("side", [5, 16, 1])
def test_any_cell_takes_any_side(side: int) -> None:
    generator = torch.Generator().manual_seed(side)
    for _ in range(4):
        picked = torch.randint(len(OPERATIONS), (len(EDGES),), generator=generator).tolist()
        text = write_cell(tuple(OPERATIONS[k] for k in picked))
        module = models["searched"](images(side), cell=text, width=4, cells=1)
        assert module.eval()(torch.randn(3, *images(side).input_shape)).shape == (3, 5)


def test_a_text_that_is_no_cell_is_refused() -> None:
    with pytest.raises(DataError, match="no cell"):
        models["searched"](images(16), cell="|conv|")

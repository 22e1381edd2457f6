"""Thin products and sums of transposed matrices: other operations, the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_tasks import generator
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from quickstudy.engine.backends.decompositions import DECOMPOSITIONS

_aten = torch.ops.aten


def operations(function: Any, *arguments: Tensor) -> set[Any]:
    """What `function` is made of as a graph, after it was seen to give the same as without decompositions."""
    graph = make_fx(function, DECOMPOSITIONS)(*arguments)
    found, wanted = graph(*arguments), function(*arguments)
    torch.testing.assert_close(found, wanted)
    assert found.stride() == wanted.stride()
    return {node.target for node in graph.graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize(("m", "k", "n"), [(3, 1, 4), (1, 1, 1), (3, 4, 1), (1, 4, 1), (1, 4, 3), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_outer_products_and_matrices_times_vectors_are_elementwise(m: int, k: int, n: int, dtype: torch.dtype) -> None:
    a, b = torch.rand((m, k), generator=generator()).to(dtype), torch.rand((n, k), generator=generator()).to(dtype).t()
    thin = (k == 1 or n == 1) and dtype != torch.bfloat16  # which rounds each product
    assert (_aten.mm.default in operations(torch.mm, a, b)) is not thin


def test_sums_over_transposed_matrices_go_through_memory_in_order() -> None:
    value = torch.rand((2, 3, 4), generator=generator())
    for keepdim in (True, False):
        assert _aten.transpose.int in operations(lambda x: x.sum(0, keepdim=keepdim), value.mT)  # noqa: B023
        assert _aten.transpose.int not in operations(lambda x: x.sum(0, keepdim=keepdim), value)  # noqa: B023
    for dim in (1, (0, 1), None):
        assert _aten.transpose.int not in operations(lambda x: x.sum(dim), value.mT)  # noqa: B023
    assert operations(lambda x: x.sum(0, dtype=torch.float64), value.mT) >= {_aten.transpose.int}

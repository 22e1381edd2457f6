"""What a captured graph is made of where the compiler's own choice is slow on small networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def _product(a: Tensor, b: Tensor) -> Any:
    """(m, k) by (k, n): with k = 1 or n = 1 it is elementwise work and sums of rows, which fuse with what surrounds it.

    Sums of columns, for m = 1, were no faster. In bfloat16 each product would be rounded before they are added.
    """
    if a.device.type != "cpu" or a.dtype not in (torch.float32, torch.float64):
        return NotImplemented
    if a.shape[1] == 1:
        return a * b
    return (a * b.t()).sum(1, keepdim=True) if b.shape[1] == 1 else NotImplemented


def _sum(value: Tensor, dim: Any, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    """Of matrices that lie transposed in memory, in the order of memory; the result lies as it would have."""
    transposed = value.dim() == 3 and value.stride(-1) > value.stride(-2) == 1
    if not transposed or dim is None or list(dim) != [0] or value.device.type != "cpu":
        return NotImplemented
    return value.mT.sum(0, keepdim, dtype=dtype).mT.contiguous()


DECOMPOSITIONS: dict[Any, Any] = {_aten.mm.default: _product, _aten.sum.dim_IntList: _sum}

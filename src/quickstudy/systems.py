"""Linear systems that are solved as PyTorch solves them, and that stay whole in a graph that is exported.

There PyTorch's own are taken apart into factors and pivots, and cannot be mapped over systems of any size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("quickstudy::solve", mutates_args=())
def whole_solve(matrix: Tensor, sides: Tensor) -> Tensor:
    """X (*b, k, r) of `matrix` (*b, k, k) X = `sides` (*b, k, r), as one operation of a graph."""
    found: Tensor = torch.linalg.solve(matrix, sides)
    return found


@whole_solve.register_fake
def _(matrix: Tensor, sides: Tensor) -> Tensor:
    return torch.empty_like(sides)


@whole_solve.register_vmap
def _(info: Any, axes: tuple[int | None, int | None], matrix: Tensor, sides: Tensor) -> tuple[Tensor, int]:
    both = [
        tensor.expand(info.batch_size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
        for tensor, axis in zip((matrix, sides), axes, strict=True)
    ]
    return whole_solve(*both), 0


def solve(matrix: Tensor, sides: Tensor) -> Tensor:
    """X (k, r) of `matrix` (k, k) X = `sides` (k, r)."""
    if torch.compiler.is_exporting():
        whole: Tensor = whole_solve(matrix, sides)
        return whole
    found: Tensor = torch.linalg.solve(matrix, sides)
    return found


def inverted(matrix: Tensor) -> Tensor:
    """Of a matrix (k, k)."""
    if torch.compiler.is_exporting():
        same = torch.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device)
        whole: Tensor = whole_solve(matrix, same)
        return whole
    found: Tensor = torch.linalg.inv(matrix)
    return found

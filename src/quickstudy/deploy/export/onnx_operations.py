"""Operations of PyTorch that ONNX, or onnxruntime on CPUs, has not got, in those that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from quickstudy.errors import ConfigError
from quickstudy.systems import whole_solve

_SINGLE = 1  # TensorProto.FLOAT


def _operations() -> Any:
    """Those of the opset that the exporter translates to."""
    from onnxscript import opset18

    return opset18


def translations() -> dict[Any, Callable[..., Any]]:
    """Functions of onnxscript by the operations of PyTorch that they stand for."""
    from quickstudy.deploy.export.onnx_solving import inverted, solutions, solved

    aten = torch.ops.aten
    return {
        aten.erf.default: _erf,
        aten.asin.default: _asin,
        aten.diagonal.default: _diagonal,
        aten.sort.stable: _sorted,
        aten._cdist_forward.default: _distances,
        whole_solve._opoverload: solutions,
        aten._linalg_solve_ex.default: solved,
        aten.linalg_inv_ex.default: inverted,
    }


def _erf(x: Any) -> Any:
    """onnxruntime has it in single precision alone."""
    op = _operations()
    return op.CastLike(op.Erf(op.Cast(x, to=_SINGLE)), x)


def _asin(x: Any) -> Any:
    """onnxruntime has it in single precision alone."""
    op = _operations()
    return op.CastLike(op.Asin(op.Cast(x, to=_SINGLE)), x)


def _diagonal(self: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Of the last two axes, (…, r, c): every (c + 1)-th number of them, row by row."""
    op = _operations()
    rank = len(self.shape)
    if offset or (dim1 % rank, dim2 % rank) != (rank - 2, rank - 1):
        raise ConfigError("Diagonals beside the main one, or of other than the last two axes, are not exported.")
    size = op.Shape(self)
    rows, columns = op.Slice(size, [rank - 2], [rank - 1]), op.Slice(size, [rank - 1], [rank])
    flat = op.Reshape(self, op.Concat(op.Slice(size, [0], [rank - 2]), op.Constant(value_ints=[-1]), axis=0))
    return op.Slice(flat, [0], op.Mul(op.Min(rows, columns), columns), [-1], op.Add(columns, [1]))


def _sorted(self: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """ONNX takes the first of equal numbers first."""
    op = _operations()
    at = dim % len(self.shape)
    size = op.Slice(op.Shape(self), [at], [at + 1])
    return op.TopK(self, size, axis=at, largest=int(descending), sorted=1)


def _distances(x1: Any, x2: Any, p: float, compute_mode: int | None = None) -> Any:
    """Of rows (…, r, d) and (…, s, d), by their differences: (…, r, s)."""
    op = _operations()
    if p not in (1.0, 2.0):
        raise ConfigError(f"Distances of the order {p:g} are not exported. Those of 1 and 2 are.")
    apart = op.Sub(op.Unsqueeze(x1, [-2]), op.Unsqueeze(x2, [-3]))
    return (op.ReduceL1 if p == 1.0 else op.ReduceL2)(apart, [-1], keepdims=0)

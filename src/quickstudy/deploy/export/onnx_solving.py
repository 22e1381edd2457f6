# mypy: ignore-errors
"""Linear systems in ONNX, which has none: elimination with partial pivoting, in a loop, in double precision.

`eliminated` is no Python but onnxscript, whose types are its own.
"""

from __future__ import annotations

from typing import Any

from onnxscript import DOUBLE, script
from onnxscript import opset18 as op
from onnxscript.values import Opset

_OURS = Opset("quickstudy", 1)


@script(_OURS, default_opset=op)
def eliminated(system: DOUBLE[...]) -> DOUBLE[...]:
    """Of systems (b, k, k + r), a matrix and r right-hand sides beside it, the same with the identity in the place of
    the matrix (Gauss & Jordan). In each step the row with the largest number takes its place first."""
    size = op.Shape(system)
    k = op.Squeeze(op.Slice(size, op.Constant(value_ints=[1]), op.Constant(value_ints=[2])))
    rows = op.Unsqueeze(op.Range(0, k, 1), op.Constant(value_ints=[0]))  # (1, k)
    for i in range(k):
        column = op.Gather(system, i, axis=2)  # (b, k)
        later = op.Where(rows >= i, op.Abs(column), op.CastLike(-1.0, column))
        best = op.ArgMax(later, axis=1, keepdims=1)  # (b, 1)
        source = op.Where(rows == i, best, op.Where(rows == best, i, rows))  # (b, k)
        source = op.Expand(op.Unsqueeze(source, op.Constant(value_ints=[2])), size)
        swapped = op.GatherElements(system, source, axis=1)
        pivot = op.Gather(swapped, op.Reshape(i, op.Constant(value_ints=[1])), axis=1)  # (b, 1, k + r)
        own = op.Gather(pivot, op.Reshape(i, op.Constant(value_ints=[1])), axis=2)  # (b, 1, 1)
        pivot = pivot / own
        factor = op.Gather(swapped, op.Reshape(i, op.Constant(value_ints=[1])), axis=2)  # (b, k, 1)
        here = op.Unsqueeze(rows == i, op.Constant(value_ints=[2]))  # (1, k, 1)
        system = op.Where(here, pivot, swapped - factor * pivot)
    return system


def solutions(matrix: Any, sides: Any) -> Any:
    """X of `matrix` X = `sides`, (*b, k, k) and (*b, k, r)."""
    shape = op.Shape(sides)
    order = op.Slice(op.Shape(matrix), [-1], [2**62])
    both = op.Concat(op.Cast(matrix, to=DOUBLE.dtype), op.Cast(sides, to=DOUBLE.dtype), axis=-1)
    width = op.Slice(op.Shape(both), [-1], [2**62])
    flat = op.Reshape(both, op.Concat(op.Constant(value_ints=[-1]), order, width, axis=0))
    done = op.Slice(eliminated(flat), order, width, [2])
    return op.CastLike(op.Reshape(done, shape), sides)


def solved(A: Any, B: Any, *, left: bool = True, check_errors: bool = False) -> Any:  # noqa: N803
    """torch.linalg.solve, of which the solution alone is looked at."""
    if not left or len(B.shape) != len(A.shape):
        raise NotImplementedError("Systems of single right-hand sides, or from the right, are not exported.")
    found = solutions(A, B)
    return found, found, found, found


def inverted(A: Any, *, check_errors: bool = False) -> Any:  # noqa: N803
    """torch.linalg.inv."""
    size = op.Shape(A)
    order = op.Squeeze(op.Slice(size, [-1], [2**62]))
    numbers = op.Range(0, order, 1)
    same = op.Equal(op.Unsqueeze(numbers, [0]), op.Unsqueeze(numbers, [1]))
    found = solutions(A, op.Expand(op.CastLike(same, A), size))
    return found, found

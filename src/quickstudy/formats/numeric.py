"""Numbers that lie in memory, in whatever library's arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import DataError, ShapeError
from quickstudy.masked import require_range


def has_names(records: Any) -> bool:
    """Whether records have named columns: a data frame, or a list of mappings."""
    rows = isinstance(records, Sequence) and len(records) > 0 and all(isinstance(one, Mapping) for one in records)
    return rows or (hasattr(records, "columns") and hasattr(records, "to_numpy"))


def items_of(records: Any) -> Any:
    """Records that can be gone through one by one: the rows of a data frame as mappings, others as they are."""
    if not (hasattr(records, "columns") and hasattr(records, "to_numpy")):
        return records
    names = [str(name) for name in records.columns]
    columns = [records[name].tolist() for name in records.columns]
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def as_numbers(x: Any, name: str = "x", features: bool = True) -> Tensor:
    """Numbers in memory (a tensor, NumPy array, data frame or nested list) as a uint8 or float32 tensor.

    features: it must have an axis after that of examples. NaN and infinities are refused, naming the example.
    """
    import numpy as np

    if isinstance(x, Tensor):
        tensor: Tensor = x.detach()
    else:
        try:
            array = x.to_numpy() if hasattr(x, "to_numpy") else np.asarray(x)
        except ValueError as error:
            raise ShapeError(f"{name} is not a full array: its examples differ in shape ({error}).") from error
        if array.dtype.kind not in "biuf":
            raise ShapeError(f"{name} must hold numbers, found NumPy dtype {array.dtype}. Convert it first.")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
            tensor = torch.tensor(array if array.dtype == np.uint8 else array.astype(np.float32))
    if tensor.is_complex():
        raise ShapeError(f"{name} must hold real numbers, found {tensor.dtype}. Give its parts as two features.")
    if tensor.dim() == 0:
        raise ShapeError(f"{name} must have an axis of examples, found a single number.")
    if features and tensor.dim() == 1:
        raise ShapeError(
            f"{name} must have an axis of features after that of examples, found shape {tuple(tensor.shape)}. "
            "Where each example is one number, give them as a column: x[:, None]."
        )
    require_range(tensor if isinstance(x, Tensor) else torch.from_numpy(np.require(array, np.float64, "W")), name)
    tensor = tensor if tensor.dtype == torch.uint8 else tensor.to(torch.float32)
    bad = (~torch.isfinite(tensor)).flatten(1).any(dim=1) if tensor.dim() > 1 else ~torch.isfinite(tensor)
    if bool(bad.any()):
        raise DataError(
            f"{name} holds NaN or infinite values in {int(bad.sum())} examples, first in example "
            f"{int(bad.nonzero()[0])}. Fill or drop them."
        )
    return tensor


def as_ids(x: Any, name: str = "x") -> Tensor:
    """Whole numbers from 0 in memory as an int64 tensor; others are refused, naming the example."""
    import numpy as np

    as_numbers(x, name)  # refuses what is no full array of finite numbers
    tensor = (
        x.detach() if isinstance(x, Tensor) else torch.tensor(x.to_numpy() if hasattr(x, "to_numpy") else np.asarray(x))
    )
    bad = ((tensor < 0) | (tensor != tensor.to(torch.int64))).flatten(1).any(dim=1)
    if bool(bad.any()):
        raise DataError(
            f"{name} must hold ids, whole numbers from 0, but example {int(bad.nonzero()[0])} has others. Give numbers "
            "that mean amounts without ids=True."
        )
    return tensor.to(torch.int64)

"""The values of time series that were seen: out of files, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.errors import DataError, ShapeError
from quickstudy.formats.places import column, number_in, one_file, read_csv, require_lines
from quickstudy.formats.records import Records
from quickstudy.formats.wide import columns_of_numbers
from quickstudy.formats.written import with_point

_LARGEST = 1e150  # the square of a double is one
_LARGEST_AS_IT_IS = 1e38


def series_in(place: str | Path | Sequence[str | Path], wide: bool, series: str, value: str, labelled: bool) -> Records:
    """The series of a CSV file, one item each. series, value: the columns of their names and of the values.

    wide: each column of numbers is a series instead. labelled: there must be a column of names, without which a file is
    one series.
    """
    path = one_file(place)
    lines = read_csv(path)
    if wide:
        values = columns_of_numbers(lines, path)
        return Records(list(values.values()), list(values), groups=list(values))
    columns, rows, numbers, commas = lines
    named = series in columns or labelled
    option = "where you train: --tasks.series; where each column is a series: --tasks.wide"
    which = column(columns, series, path, option) if named else None
    what = column(columns, value, path, "where you train: --tasks.value")
    require_lines(rows, path)
    values = {}
    for cells, line in zip(rows, numbers, strict=True):
        name = path.stem if which is None else cells[which].strip()
        cell = with_point(cells[what]) if commas else cells[what]
        values.setdefault(name, []).append(number_in(cell, f"{path}, line {line}"))
    return Records(list(values.values()), list(values), groups=list(values))


def seen_values(records: Any, scaled: bool) -> Tensor:
    """The values of one series (length,) as float64. scaled: they are divided by their spread before they are float32.

    Raises ShapeError or DataError, naming the point, for what cannot be forecast from.
    """
    values: Any = one_series(records)
    try:
        if isinstance(values, Tensor) and values.is_complex():
            raise TypeError("complex numbers have no order")
        values = values.to_numpy() if hasattr(values, "to_numpy") else values
        values = torch.as_tensor(values, dtype=torch.float64).detach()  # at once: a list would be float32 first
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"The seen values of a series must be numbers, found {records!r:.80} ({error}).") from error
    if values.dim() != 1:
        raise ShapeError(f"The seen values must have one axis (length,), found shape {tuple(values.shape)}.")
    if len(values) < 2:
        raise DataError(
            f"A series must have been seen for at least 2 points, found {len(values)}: a support example is a "
            "point and what came before it. Wait for more values."
        )
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        raise DataError(
            f"The seen values hold {float(values[int(bad[0])])} at position {int(bad[0])} ({len(bad)} such values "
            "in all). Fill them, from their neighbours for instance."
        )
    largest = float(values.abs().max())
    if largest > (_LARGEST if scaled else _LARGEST_AS_IT_IS) or (scaled and 0 < largest < 1 / _LARGEST):
        raise DataError(
            f"The seen values are as {'large' if largest > 1 else 'small'} as {largest:g}, which cannot be "
            "computed with. Give them in another unit, so that they are nearer to 1."
        )
    seen: Tensor = values
    return seen


def one_series(records: Any) -> Any:
    """The values of the one series among items of `find`, or the values themselves."""
    if isinstance(records, list) and records and isinstance(records[0], list | tuple):
        if len(records) > 1:
            raise DataError(f"A task is one series, found {len(records)}. Choose one of them.")
        return records[0]
    return records

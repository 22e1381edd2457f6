"""One cell of a table: whether it holds anything, and the number that it is, by what its column holds."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any, Literal

from quickstudy.errors import DataError
from quickstudy.formats.records import Placed
from quickstudy.gaps import missing

Kind = Literal["number", "category", "boolean", "date", "nothing"]
"""What the cells of a column are. 'nothing': they do not vary, or there are none, so that they tell nothing."""
MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
"""Texts that mean an empty cell, in any case."""

_TRUTH = {"false": False, "true": True}
_DAY = 86400.0
_EPOCH = date(1970, 1, 1).toordinal()
_LARGEST = 1e18


def place_of(cell: Any, row: str) -> str:
    """Where a cell stands: as a text from a file knows, or in which row."""
    return cell.place if isinstance(cell, Placed) else row


def plain(cell: Any) -> Any:
    """A cell as a text, a truth value, a number or a time; None where it holds nothing."""
    if isinstance(cell, str):
        text = cell.strip()
        return None if text.casefold() in MISSING else text
    if missing(cell):
        return None
    return cell.item() if hasattr(cell, "item") else cell


def written(cell: Any) -> str:
    """A cell as the name of a category: a whole number has no point."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _truth(cell: Any) -> float | None:
    value = _TRUTH.get(cell.casefold()) if isinstance(cell, str) else cell if isinstance(cell, bool) else None
    return None if value is None else float(value)


def _amount(cell: Any) -> float | None:
    if isinstance(cell, bool):
        return float(cell)
    try:
        return float(cell) if isinstance(cell, str) or hasattr(cell, "__float__") else None
    except ValueError:
        return None
    except OverflowError:  # of a whole number with hundreds of digits
        return math.inf


def days_of(cell: Any) -> float | None:
    """Days since 1970; of a text in the form of ISO 8601, such as 2024-03-01 or 2024-03-01T12:00."""
    if isinstance(cell, str):
        try:
            cell = datetime.fromisoformat(cell) if "-" in cell[1:] else None
        except ValueError:
            return None
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp() / _DAY
    return float(cell.toordinal() - _EPOCH) if isinstance(cell, date) else None


def day_called(days: int) -> str:
    """The day that is so many days after the first of 1970, or the nearest that has a name."""
    return date.fromordinal(min(max(days + _EPOCH, 1), date.max.toordinal())).isoformat()


READINGS = {"boolean": _truth, "number": _amount, "date": days_of}
"""What reads a cell of each kind but categories, None for another; the first that reads all cells of a column is its
kind, and otherwise they are categories."""


def finite(number: float, where: str) -> float:
    """The number; DataError, naming the place, for one that cannot be computed with."""
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise DataError(f"{where}: the value is {number:g}, which cannot be computed with. Correct it, or empty it.")
    return number

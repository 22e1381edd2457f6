"""What holds nothing, in cells and labels of any kind."""

from __future__ import annotations

from typing import Any


def missing(cell: Any) -> bool:
    """Whether a cell or label holds nothing: None, NaN, or what pandas writes for nothing.

    >>> missing(float("nan")), missing(None), missing("")
    (True, True, False)
    """
    try:
        return cell is None or bool(cell != cell)
    except TypeError:  # pandas.NA, of which nothing is true
        return True

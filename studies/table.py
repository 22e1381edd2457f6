"""Tables of the studies' page."""

from __future__ import annotations

from collections.abc import Iterable


def percent(found: dict[str, float]) -> str:
    """A share with its interval, in %."""
    return f"{100 * found['mean']:.1f} ± {100 * found['ci95']:.1f}"


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)

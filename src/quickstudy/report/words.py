"""Words that several sections need."""

from __future__ import annotations

from quickstudy.runs.run import Run


def counted(word: str, count: int) -> str:
    """'1 example', '5 examples'."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def each_class(run: Run) -> bool:
    """Whether shots and queries count the examples of each class, not those of a whole task."""
    source = run.parts.source
    return source.balanced and source.spec.ways > 0

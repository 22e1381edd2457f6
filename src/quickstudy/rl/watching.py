"""Watching an agent: one task as it meets it, before and after it has learned, side by side."""

from __future__ import annotations

from quickstudy.errors import ConfigError
from quickstudy.rl.source import EnvironmentSource
from quickstudy.tasks.base import Source
from quickstudy.tasks.wrapped import innermost


def source_of(source: Source) -> EnvironmentSource:
    """The environments within whatever is around them; ConfigError where there are none, or several families."""
    found = innermost(source)
    if len(found) != 1 or not isinstance(found[0], EnvironmentSource):
        names = ", ".join(type(one).__name__ for one in found)
        raise ConfigError(f"There is no one family of environments here, found {names}. Give a run of one.")
    return found[0]

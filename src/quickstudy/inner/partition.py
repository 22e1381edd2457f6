"""Which parameters an inner loop moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from quickstudy.errors import ConfigError


@dataclass(frozen=True)
class Partition:
    """The parameters whose name matches one of `patterns` (shell wildcards: 'head.*') move; the others stay at φ."""

    patterns: tuple[str, ...] = ("*",)

    def select(self, names: Iterable[str]) -> list[str]:
        """The matching names, in their order. Raises ConfigError if there is none."""
        names = list(names)
        chosen = [name for name in names if any(fnmatchcase(name, pattern) for pattern in self.patterns)]
        if not chosen:
            raise ConfigError(
                f"No parameter matches {', '.join(self.patterns)}, so the inner loop would move nothing. "
                f"The network's parameters are: {', '.join(names)}."
            )
        return chosen


EVERYTHING = Partition()

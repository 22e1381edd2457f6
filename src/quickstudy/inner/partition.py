"""Which parameters an inner loop moves, and how parameters are chosen by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from quickstudy.errors import ConfigError


def matching(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that match one of the patterns (shell wildcards: 'head.*') and none of those with '!' before them.

    Patterns with '!' alone mean all but these.

    >>> matching(["!head.*"], ["body.weight", "head.weight"])
    ['body.weight']
    """
    spared = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"] * bool(spared)
    return [
        name
        for name in names
        if any(fnmatchcase(name, p) for p in wanted) and not any(fnmatchcase(name, p) for p in spared)
    ]


@dataclass(frozen=True)
class Partition:
    """The parameters whose name matches `patterns`, see `matching`, move; the others stay at φ."""

    patterns: tuple[str, ...] = ("*",)

    def select(self, names: Iterable[str]) -> list[str]:
        """The matching names, in their order. Raises ConfigError if there is none."""
        names = list(names)
        chosen = matching(self.patterns, names)
        if not chosen:
            raise ConfigError(
                f"No parameter matches {', '.join(self.patterns)}, so the inner loop would move nothing. "
                f"The network's parameters are: {', '.join(names)}."
            )
        return chosen

    def named(self, names: Iterable[str]) -> list[str]:
        """The matching names that a pattern asks for by name: not by '*', and not by '!' for others."""
        asking = [pattern for pattern in self.patterns if pattern != "*" and not pattern.startswith("!")]
        return matching([*asking, *(p for p in self.patterns if p.startswith("!"))], list(names)) if asking else []


EVERYTHING = Partition()

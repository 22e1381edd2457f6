"""Records as they lie somewhere, and as compact tensors."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor

from quickstudy.brief import brief
from quickstudy.episode import Features, leaves, map_features

Broken = Literal["refuse", "skip"]
"""What to do with a record that cannot be read: raise DataError, or leave it out and say so."""

_ROW = re.compile("(.*), ((?:line|row) [0-9]+)", re.DOTALL)  # what `Rows.places` are
_log = logging.getLogger("quickstudy")


class Placed(str):
    """A text, and where it was found, for messages. Copies are plain texts."""

    place: str

    def __new__(cls, text: str, place: str) -> Placed:
        made = super().__new__(cls, text)
        made.place = place
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Records(NamedTuple):
    """Records as they lie somewhere. items: what `store` takes. names: where each comes from, for people.

    labels: of each, where there are labels. groups: what each belongs to, where that is told: its task, where tasks are
    of numbers; the speaker, session or writer, where they are of classes.
    """

    items: Sequence[Any]
    names: Sequence[str]
    labels: Sequence[Any] | None = None
    groups: Sequence[str] | None = None

    def __repr__(self) -> str:
        return brief(self)

    def chosen(self, rows: Sequence[int]) -> Records:
        """Some of them."""
        parts = (None if part is None else [part[i] for i in rows] for part in (self.labels, self.groups))
        return Records([self.items[i] for i in rows], [self.names[i] for i in rows], *parts)

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """Records without labels of several places, one after another; of groups where all say them."""
        groups = [group for p in parts for group in p.groups or ()]
        items, names = [item for p in parts for item in p.items], [name for p in parts for name in p.names]
        return cls(items, names, groups=groups if items and len(groups) == len(items) else None)

    @property
    def called(self) -> list[str]:
        """What stands for each in a table: a text itself, wherever it comes from; of all else, its name. Of rows that
        are all of one file, it is left out: 'line 3'."""
        rows = [_ROW.fullmatch(name) for name in self.names]
        files = {None if row is None else row[1] for row in rows}
        short = [row[2] if row and len(files) == 1 else name for row, name in zip(rows, self.names, strict=True)]
        pairs = zip(self.items, short, strict=True)
        return [str(item) if isinstance(item, str) else name for item, name in pairs]

    @property
    def placed(self) -> list[Any]:
        """The labels; those that are texts with where each comes from, for messages."""
        pairs = zip(self.labels or (), self.names, strict=True)
        return [Placed(label, name) if isinstance(label, str) else label for label, name in pairs]


class Stored(NamedTuple):
    """Records as compact tensors. x: (n, …) of each. kept: which of the records they are. notices: what was done."""

    x: Features
    kept: list[int]
    notices: list[str]

    def __repr__(self) -> str:
        return brief(self)


def all_kept(x: Features) -> Stored:
    """Records that were tensors already."""
    return Stored(x, list(range(len(leaves(x)[0]))), [])


def say(notices: Sequence[str]) -> None:
    """Tell the user, through logging, what was converted, and as a warning what was left out or is blank."""
    for notice in notices:
        (_log.warning if "left out" in notice or "blank" in notice else _log.info)(notice)


def moved(x: Features, like: Tensor) -> Features:
    """Compact tensors where `like` is; floating-point ones in its precision."""
    return map_features(lambda t: t.to(like) if t.is_floating_point() else t.to(like.device), x)


def summed(notices: Sequence[str], total: int) -> list[str]:
    """Notices on parts of `total` records as such on all: '3 of 9 texts are …', '1 of 9 texts are …' give one of 4."""
    counts: dict[str, int] = {}
    rest: list[str] = []
    for notice in notices:
        if counted := re.fullmatch("([0-9]+) of [0-9]+ (.*)", notice, re.DOTALL):
            counts[counted[2]] = counts.get(counted[2], 0) + int(counted[1])
        else:
            rest.append(notice)
    return [f"{count} of {total} {what}" for what, count in counts.items()] + rest

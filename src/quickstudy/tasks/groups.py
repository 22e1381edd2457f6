"""Records that belong together, such as those of one speaker, session, track or writer, in tasks of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.records import Records
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.pool import Pool

Rule = Literal["apart", "within"]
"""What tasks make of groups: none is in both support and query ('apart'), or each task is of one group ('within')."""
_ATTEMPTS = 24
_SIDES, _CUT, _CHOICE, _GROUP, _CLASSES = range(5)


class Drawn(NamedTuple):
    """classes: (T, N). items: (T, N, K + Q), those of the support set first. there: (T, N, Q), which queries exist."""

    classes: Tensor
    items: Tensor
    there: Tensor


@dataclass(frozen=True)
class Groups:
    """Which group each record of a pool belongs to, and what tasks make of it.

    of: (n,) int64, in the order of the pool, class after class. unknown: (n,) bool, of which records nobody knows; each
    is then a group of its own. names: of the groups that are known.
    """

    of: Tensor
    unknown: Tensor
    names: tuple[str, ...]
    rule: Rule = "apart"

    @classmethod
    def named(cls, names: Sequence[str], order: Tensor, rule: Rule) -> Groups:
        """names: of each record's group, '' where nobody knows. order: (n,) int64, of records in the pool."""
        if rule not in ("apart", "within"):
            raise ConfigError(f"groups must be 'apart' or 'within', found {rule!r}.")
        known = tuple(dict.fromkeys(name for name in names if name))
        number = {name: i for i, name in enumerate(known)}
        of = torch.tensor([number.get(name, len(known) + i) for i, name in enumerate(names)])
        _, compact = of.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        return cls(compact[order], of[order] >= len(known), known, rule)

    def to(self, device: torch.device | str) -> Groups:
        return replace(self, of=self.of.to(device), unknown=self.unknown.to(device))

    @property
    def count(self) -> int:
        return int(self.of.max()) + 1 if len(self.of) else 0

    def _examples(self, classes: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
        """The groups of all examples of classes (*s): (*s, M), and which of these exist."""
        rows, there = self._rows(classes, pool)
        return self.of[rows], there

    def _rows(self, classes: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
        """Where all examples of classes (*s) stand in `of`: (*s, M), and which of these exist."""
        counts, starts = pool.counts, pool.counts.cumsum(0) - pool.counts
        lane = torch.arange(int(counts[classes].max()), device=classes.device)
        there = lane < counts[classes][..., None]
        return starts[classes][..., None] + torch.where(there, lane, 0), there

    def draw(self, keys: Tensor, ids: Tensor, classes: Tensor | None, pool: Pool, size: Sampling) -> Drawn:
        """Tasks by keys (T,): of `classes` (T, N), or, where each is of one group, of those of `ids` that it has."""
        if classes is None:
            return self._within(keys, ids, pool, size)
        return self._apart(keys, classes, pool, size)

    def _apart(self, keys: Tensor, classes: Tensor, pool: Pool, size: Sampling) -> Drawn:
        """Items such that no group is on both sides of a task.

        Class after class, the groups that are on no side yet are put in random order and cut at random, where enough
        examples are left on both sides. Where classes share groups that may fail; it is then tried again, and at last
        with fewer queries. Raises DataError where it cannot be.
        """
        (of, exists), shots, queries = self._examples(classes, pool), size.shots, size.queries
        side = torch.zeros((len(keys), self.count), dtype=torch.int8, device=keys.device)
        left = torch.arange(len(keys), device=keys.device)
        for attempt in range(_ATTEMPTS):
            least = max(1, queries if attempt < _ATTEMPTS // 3 else queries >> (attempt - _ATTEMPTS // 3 + 1))
            mine = rng.fold(rng.fold(keys[left], _SIDES), attempt)
            sides, well = self._sides(mine, of[left], exists[left], shots, least)
            side[left[well]] = sides[well]
            left = left[~well]
            if not len(left):
                return Drawn(classes, *_chosen(rng.fold(keys, _CHOICE), side, of, exists, shots, queries))
        raise DataError(
            f"The classes of a task share so few groups that none is left for {shots} shots on one side and a query on "
            "the other. Record more groups, or take fewer ways or shots."
        )

    def _sides(self, keys: Tensor, of: Tensor, exists: Tensor, shots: int, queries: int) -> tuple[Tensor, Tensor]:
        """1 for support and -1 for query, (T, G) int8, and for which tasks (T,) bool it holds what is asked."""
        nobody = self.count
        side = torch.zeros((len(keys), nobody + 1), dtype=torch.int8, device=keys.device)
        well = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
        for number in range(of.shape[1]):
            mine, there = of[:, number], exists[:, number]
            before = side.gather(1, mine) * there
            free = there & (before == 0)
            place = torch.where(free, rng.bits(rng.fold(keys[:, None], mine), ()), torch.iinfo(torch.int64).max)
            place, order = place.sort(dim=1)
            supports, asked = ((before == one).sum(1, keepdim=True) for one in (1, -1))
            total = free.sum(1, keepdim=True)
            cut = torch.arange(of.shape[2] + 1, device=keys.device).expand(len(keys), -1)
            boundary = torch.ones_like(cut, dtype=torch.bool)
            boundary[:, 1:-1] = place[:, 1:] != place[:, :-1]
            fits = boundary & (cut <= total) & (supports + cut >= shots) & (asked + total - cut >= queries)
            draw = rng.bits(rng.fold(rng.fold(keys, _CUT), number), (cut.shape[1],))
            chosen = torch.where(fits, draw, -1).argmax(1, keepdim=True)
            well &= fits.any(1)
            new = torch.where(cut[:, :-1] < chosen, 1, -1).to(torch.int8)
            side = side.scatter(1, torch.where(free, mine, nobody).gather(1, order), new)
        return side[:, :nobody], well

    def _within(self, keys: Tensor, ids: Tensor, pool: Pool, size: Sampling) -> Drawn:
        of, exists = self._examples(ids, pool)
        found = torch.zeros((len(ids), self.count), dtype=torch.int64, device=ids.device)
        enough = found.scatter_add_(1, of, exists.long()) >= size.shots + size.queries
        fitting = (enough.sum(0) >= size.ways).nonzero().flatten()
        if not len(fitting):
            raise DataError(
                f"No group has {size.ways} classes with {size.shots} shots + {size.queries} queries of its own. Lower "
                "ways, shots or queries, or keep groups apart instead (--tasks.groups apart)."
            )
        group = fitting[rng.integers(rng.fold(keys, _GROUP), len(fitting))]
        draw = torch.where(enough[:, group].T, rng.bits(rng.fold(keys, _CLASSES), (len(ids),)), -1)
        classes = ids[draw.topk(size.ways, dim=1).indices]
        of, exists = self._examples(classes, pool)
        mine = exists & (of == group[:, None, None])
        draw = torch.where(mine, rng.bits(rng.fold(keys, _CHOICE), tuple(of.shape[1:])), -1)
        items = draw.topk(size.shots + size.queries, dim=2).indices
        return Drawn(classes, items, torch.ones_like(items[..., size.shots :], dtype=torch.bool))

    def check_shown(self, split: str, shows: Tensor, names: Sequence[str]) -> None:
        """DataError where the images that show a concept, shows (C, n) bool, are of unknown groups in a held-out split,
        or all of one group. names: of the concepts."""
        for name, there in zip(names, shows, strict=True):
            if split != "train" and bool((there & self.unknown).any()):
                raise DataError(_unknown(split, name))
            if bool(there.any()) and len(self.of[there].unique()) == 1:  # type: ignore[no-untyped-call]
                raise DataError(_of_one(split, name))

    def check(self, split: str, ids: Tensor, pool: Pool, shots: int) -> None:
        """Raise DataError, naming a class, where a held-out split has records of unknown groups, or where no choice of
        groups gives so many shots and leaves a query."""
        rows, exists = self._rows(ids, pool)
        of, nobody = self.of[rows], ids[(self.unknown[rows] & exists).any(1)]
        if split != "train" and len(nobody):
            raise DataError(_unknown(split, pool.name(int(nobody[0]))))
        alone = (of.eq(of[:, :1]) | ~exists).all(1)
        if self.rule == "apart" and bool(alone.any()):
            raise DataError(_of_one(split, pool.name(int(ids[alone][0]))))
        sizes = torch.zeros((len(ids), self.count), dtype=torch.int64, device=ids.device)
        sizes = sizes.scatter_add_(1, of, exists.long())
        smallest = torch.where(sizes > 0, sizes, torch.iinfo(torch.int64).max).amin(1)
        few = sizes.sum(1) - smallest < shots
        if self.rule == "apart" and bool(few.any()):
            worst = int(few.nonzero()[0])
            own = ", ".join(map(str, sizes[worst][sizes[worst] > 0].sort(descending=True).values[:8].tolist()))
            raise DataError(
                f"The class {pool.name(int(ids[worst]))!r} of the split {split!r} has groups of {own} examples: of "
                f"these no choice gives {shots} shots and leaves a query in another group. Lower the shots, or add "
                "examples of other groups."
            )


def _unknown(split: str, name: str) -> str:
    return (
        f"The split {split!r} has records of which nobody knows the group, the first in the class {name!r}: one group "
        "might be in support and query alike, and figures look better than they are. Name the groups, or train on such "
        "records only."
    )


def _of_one(split: str, name: str) -> str:
    return (
        f"All examples of the class {name!r} of the split {split!r} are of one group, and a group is in support or in "
        "query. Add examples of other groups, or leave the class out."
    )


def _chosen(keys: Tensor, side: Tensor, of: Tensor, exists: Tensor, shots: int, queries: int) -> tuple[Tensor, Tensor]:
    """Items (T, N, K + Q) of classes whose examples are of groups `of`, by the sides of these; which queries exist."""
    _, ways, most = of.shape
    sides = side.gather(1, of.flatten(1)).reshape(of.shape) * exists
    draw = rng.bits(keys, (ways, most))
    parts, there = [], torch.ones(0, dtype=torch.bool)
    for one, count in ((1, shots), (-1, queries)):
        own = torch.where(sides == one, draw, -1)
        if count > most:
            own = torch.nn.functional.pad(own, (0, count - most), value=-1)
        value, index = own.topk(count, dim=2)
        there = value >= 0
        parts.append(torch.where(there, index, 0))
    return torch.cat(parts, dim=2), there


def groups_of(records: Records, root: str, pattern: str) -> list[str] | None:
    """The group of each record: as its file says, or by a pattern in its name below `root`; None if nobody asks.

    pattern: a regular expression, of which the first part in brackets, or all, is the group; where it does not match,
    the group is ''.
    """
    if not pattern:
        return None if records.groups is None else list(records.groups)
    if records.groups is not None:
        return list(records.groups)
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"The pattern of groups {pattern!r} is no regular expression ({error}). Correct it."
        ) from None
    matches = [found.search(name.removeprefix(str(root))) for name in records.names]
    return ["" if match is None else match[min(1, len(match.groups()))] or "" for match in matches]

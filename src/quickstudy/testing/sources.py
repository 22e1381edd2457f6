"""What a task source must keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from quickstudy.episode import Episode, Examples, leaves, task
from quickstudy.spec import check_episode
from quickstudy.targets.maps import BACKGROUND
from quickstudy.tasks.base import SPLITS, Source
from quickstudy.testing.claims import equal, require, same

_TASKS = 8


def check_source(source: Source, splits: Sequence[str] = SPLITS, distinct: bool = True, disjoint: bool = True) -> None:
    """Check a task source against its contract; raises AssertionError saying what is broken.

    Episode i must be a pure function of (seed, split, i): the same bits in the same batch, and the same but for
    rounding in any other; shapes, dtypes and class sizes must fit spec and sampling; copies made by `sampled`, `seeded`
    and `to` must leave the source as it was.
    distinct: no example may be in both support and query (leave out for data that holds duplicates).
    disjoint: no class name may be in two splits.
    """
    indices = torch.arange(_TASKS)
    for split in splits:
        source.check(split)
        batch = source.episodes(split, indices)
        check_episode(batch, source.spec, tasks=True)
        backwards = source.episodes(split, indices.flip(0))
        for i in range(_TASKS):
            alone = task(source.episodes(split, indices[i : i + 1]), 0)
            require(same(alone, task(batch, i)), f"Episode {i} of {split!r} differs alone and in a batch.")
            require(same(alone, task(backwards, -1 - i)), f"Episode {i} of {split!r} depends on the batch's order.")
            _check_sizes(alone, source, f"Episode {i} of {split!r}")
            if distinct:
                _check_distinct(alone, f"Episode {i} of {split!r}", source.repeats)
        shifted = source.episodes(split, indices + 1)
        require(not equal(batch, shifted), f"The index does not change the episodes of {split!r}.")
        other = source.seeded(source.seed + 1)
        require(
            not equal(batch, other.episodes(split, indices)), f"The seed does not change the episodes of {split!r}."
        )
        again = other.seeded(source.seed).to("cpu")
        require(equal(batch, again.episodes(split, indices)), "Back on the same seed, the episodes are not the same.")
    for one, two in [(a, b) for a in splits for b in splits if a < b]:
        alike = equal(source.episodes(one, indices), source.episodes(two, indices))
        require(not alike, f"The splits {one!r} and {two!r} give the same episodes.")
        shared = _names(source, one) & _names(source, two) if disjoint else set()
        require(not shared, f"The splits {one!r} and {two!r} share the classes {sorted(shared)[:5]}.")
    smaller = replace(source.sampling, shots=1, queries=1, min_shots=None)
    copy = source.sampled(smaller)
    require(copy.sampling.shots == copy.sampling.queries == 1, "`sampled` did not take the new shots and queries.")
    require(copy is not source and (source.sampling is not copy.sampling), "`sampled` must not change its source.")
    check_episode(copy.episodes(splits[0], indices), copy.spec, tasks=True)
    _check_sizes(task(copy.episodes(splits[0], indices), 0), copy, "After `sampled`, episode 0")


def _names(source: Source, split: str) -> set[str]:
    """The names of the classes of a split's tasks; the background is in all of them."""
    return {name for i in range(4 * _TASKS) for name in source.class_names(split, i)} - {BACKGROUND}


def _check_sizes(episode: Episode, source: Source, where: str) -> None:
    """Every class has K support and Q query examples, or as many as the sampling allows."""
    size, ways = source.sampling, source.spec.ways or 1
    if not source.balanced:
        shots, queries = int(episode.support.mask.sum()), int(episode.query.mask.sum())
        fits = (size.min_shots or size.shots) <= shots <= size.shots and queries <= size.queries
        require(
            fits,
            f"{where} has {shots} support and {queries} query examples, expected {size.shots} and up to "
            f"{size.queries}.",
        )
        return
    for part, low, high in (
        (episode.support, size.min_shots or size.shots, size.shots * source.longest),
        (episode.query, size.queries, size.queries * source.longest),
    ):
        y = part.y if source.spec.ways else torch.zeros_like(part.mask, dtype=torch.int64)
        counts = torch.bincount(y[part.mask], minlength=ways)
        present = int((counts > 0).sum())
        require(size.min_ways is not None or present == ways, f"{where} has {present} classes, expected {ways}.")
        require(present >= min(size.min_ways or ways, ways), f"{where} has {present} classes, fewer than min_ways.")
        fits = bool(((counts[counts > 0] >= low) & (counts[counts > 0] <= high)).all())
        require(fits, f"{where} has {counts.tolist()} examples of its classes, expected {low} to {high} of each.")


def _check_distinct(episode: Episode, where: str, repeats: bool) -> None:
    if repeats:
        return

    def rows(part: Examples) -> Tensor:
        return torch.cat([t.flatten(1).double() for t in leaves(part.x)], 1)[part.mask]

    twice = (rows(episode.support)[:, None] == rows(episode.query)[None]).all(dim=-1).any()
    require(not bool(twice), f"{where} has an example in both support and query.")

"""Conformance suites: hand them your own part, and they say what it breaks of the contract that quickstudy relies on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from quickstudy.episode import Episode, Examples, check_episode, task
from quickstudy.tasks.base import SPLITS, Source

_TASKS = 8


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _equal(one: Episode, other: Episode) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_leaves(one), _leaves(other), strict=True))


def _leaves(episode: Episode) -> list[Tensor]:
    found: list[Tensor] = []
    for part in episode:
        found += [*(part.x.values() if isinstance(part.x, dict) else [part.x]), part.y, part.mask]
    return found


def check_source(source: Source, splits: Sequence[str] = SPLITS, distinct: bool = True, disjoint: bool = True) -> None:
    """Check a task source against its contract; raises AssertionError saying what is broken.

    Episode i must be a pure function of (seed, split, i); shapes, dtypes and class sizes must fit spec and sampling;
    copies made by `sampled`, `seeded` and `to` must leave the source as it was.
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
            _require(_equal(alone, task(batch, i)), f"Episode {i} of {split!r} differs alone and in a batch.")
            _require(_equal(alone, task(backwards, -1 - i)), f"Episode {i} of {split!r} depends on the batch's order.")
            _check_sizes(alone, source, f"Episode {i} of {split!r}")
            if distinct:
                _check_distinct(alone, f"Episode {i} of {split!r}")
        shifted = source.episodes(split, indices + 1)
        _require(not _equal(batch, shifted), f"The index does not change the episodes of {split!r}.")
        other = source.seeded(source.seed + 1)
        _require(
            not _equal(batch, other.episodes(split, indices)), f"The seed does not change the episodes of {split!r}."
        )
        again = other.seeded(source.seed).to("cpu")
        _require(_equal(batch, again.episodes(split, indices)), "Back on the same seed, the episodes are not the same.")
    for one, two in [(a, b) for a in splits for b in splits if a < b]:
        same = _equal(source.episodes(one, indices), source.episodes(two, indices))
        _require(not same, f"The splits {one!r} and {two!r} give the same episodes.")
        shared = _names(source, one) & _names(source, two) if disjoint else set()
        _require(not shared, f"The splits {one!r} and {two!r} share the classes {sorted(shared)[:5]}.")
    smaller = replace(source.sampling, shots=1, queries=1, min_shots=None)
    copy = source.sampled(smaller)
    _require(copy.sampling.shots == copy.sampling.queries == 1, "`sampled` did not take the new shots and queries.")
    _require(copy is not source and (source.sampling is not copy.sampling), "`sampled` must not change its source.")
    check_episode(copy.episodes(splits[0], indices), copy.spec, tasks=True)
    _check_sizes(task(copy.episodes(splits[0], indices), 0), copy, "After `sampled`, episode 0")


def _names(source: Source, split: str) -> set[str]:
    return {name for i in range(4 * _TASKS) for name in source.class_names(split, i)}


def _check_sizes(episode: Episode, source: Source, where: str) -> None:
    """Every class has K support and Q query examples, or as many as the sampling allows."""
    size, ways = source.sampling, source.spec.ways or 1
    for part, low, high in (
        (episode.support, size.min_shots or size.shots, size.shots),
        (episode.query, size.queries, size.queries),
    ):
        y = part.y if source.spec.kind == "classification" else torch.zeros_like(part.mask, dtype=torch.int64)
        counts = torch.bincount(y[part.mask], minlength=ways)
        present = int((counts > 0).sum())
        _require(size.min_ways is not None or present == ways, f"{where} has {present} classes, expected {ways}.")
        _require(present >= min(size.min_ways or ways, ways), f"{where} has {present} classes, fewer than min_ways.")
        fits = bool(((counts[counts > 0] >= low) & (counts[counts > 0] <= high)).all())
        _require(fits, f"{where} has {counts.tolist()} examples of its classes, expected {low} to {high} of each.")


def _check_distinct(episode: Episode, where: str) -> None:
    def rows(part: Examples) -> Tensor:
        x = torch.cat([t.flatten(1).double() for t in part.x.values()], 1) if isinstance(part.x, dict) else part.x
        return x.flatten(1)[part.mask]

    twice = (rows(episode.support)[:, None] == rows(episode.query)[None]).all(dim=-1).any()
    _require(not bool(twice), f"{where} has an example in both support and query.")

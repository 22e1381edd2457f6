"""One task as tensors: a support set to learn from, and a query set to be judged on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path, tree_leaves, tree_map

from quickstudy.brief import brief

Params = dict[str, Tensor]
"""φ, or any part of it: a flat mapping from names to tensors."""
State = dict[str, Tensor]
"""ψ, what is known about one task after seeing its support set: a flat mapping from names to tensors."""
Features = Tensor | dict[str, Tensor]
"""Inputs of n examples: (n, *features), or a mapping of such tensors where one is not enough.

Whoever does something to all of it calls `map_features`; only formats know which of the two it is.
"""
T = TypeVar("T")


class Examples(NamedTuple):
    """n labelled examples. Every leaf may carry a leading task axis T.

    x: (n, *features), or a mapping of such tensors. y: (n, *label), what a target makes of labels: class ids, numbers …
    mask: (n,) bool; False marks padding, so that unequal shots and ways cost no special case.
    """

    x: Features
    y: Tensor
    mask: Tensor

    def __repr__(self) -> str:
        return brief(self)


class Episode(NamedTuple):
    """One task, or T of them when every leaf has a leading task axis."""

    support: Examples
    query: Examples

    def __repr__(self) -> str:
        return brief(self)


def map_features(function: Callable[..., Tensor], x: Features, *others: Features) -> Features:
    """Apply `function` to x, or to every tensor of it; together with the same tensors of `others`."""
    mapped: Features = tree_map(function, x, *others)
    return mapped


def map_episode(function: Callable[[Tensor], Tensor], episode: Episode) -> Episode:
    """Apply `function` to every tensor of the episode: indexing one task, moving to a device, changing dtype."""
    mapped: Episode = tree_map(function, episode)
    return mapped


def leaves(value: Features | Examples | Episode) -> list[Tensor]:
    """All tensors of inputs, examples or an episode, in one order."""
    tensors: list[Tensor] = tree_leaves(value)
    return tensors


def named(x: Features) -> dict[str, Tensor]:
    """The tensors of x by their names; one that is a tensor by itself is called ''."""
    with_paths = tree_flatten_with_path(x)[0]
    return {"".join(str(key.key) for key in path): leaf for path, leaf in with_paths}  # type: ignore[attr-defined]


def of_names(tensors: Mapping[str, Tensor]) -> Features:
    """The inverse of `named`."""
    return tensors[""] if "" in tensors else dict(tensors)


def task(episode: Episode, index: int) -> Episode:
    """Task `index` of a batch of episodes, without the task axis."""
    return map_episode(lambda t: t[index], episode)


def stack(episodes: Sequence[Episode]) -> Episode:
    """Single episodes of equal shapes as one batch with a leading task axis."""
    batch: Episode = tree_map(lambda *tensors: torch.stack(tensors), *episodes)
    return batch


def joined(one: T, other: T) -> T:
    """Two sets of examples, or of episodes, along their first axis."""
    both: T = tree_map(lambda *tensors: torch.cat(tensors), one, other)
    return both

"""A source whose episodes are changed at random, each in a way of its own: so that no task can be guessed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples, map_features
from quickstudy.errors import ConfigError
from quickstudy.masked import one_hot
from quickstudy.tasks.base import Source
from quickstudy.tasks.wrapped import Wrapped

_LABELS, _OFFSET, _SUPPORT, _QUERY = range(4)


@dataclass(frozen=True, kw_only=True)
class Transformed(Wrapped):
    """The episodes of `source`, transformed; which way is a pure function of (seed, split, i).

    shuffle_labels: the class ids of an episode change places, in support and query alike. target_offset: one number for
    each task, drawn from a normal distribution with this standard deviation (in units of the target), is added to all
    targets. Both keep a learner from guessing a task without its support set (meta-augmentation, Rajendran et al.
    2020). shuffle_order: the examples of each part come in random order, padding among them, for learners that read
    them one after another.
    """

    source: Source
    shuffle_labels: bool = False
    target_offset: float = 0.0
    shuffle_order: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.target_offset < math.inf:
            raise ConfigError(f"target_offset must be 0 or a positive number, found {self.target_offset}.")
        target = self.source.spec.target
        if self.shuffle_labels:
            target.require_classes(
                "shuffle_labels, which changes class ids,",
                "Leave it out; for targets that are numbers there is target_offset.",
            )
        if self.target_offset:
            target.require_numbers("target_offset", "Leave it out; for class ids there is shuffle_labels.")

    @property
    def inner(self) -> Source:
        return self.source

    def around(self, change: Callable[[Source], Source]) -> Transformed:
        return replace(self, source=change(self.source))

    def plain(self) -> Transformed:
        """Without what is done to labels and targets; learners that read in order are still to see any order."""
        return replace(self, source=self.source.plain(), shuffle_labels=False, target_offset=0.0)

    def class_names(self, split: str, index: int) -> list[str]:
        names = self.source.class_names(split, index)
        if not names or not self.shuffle_labels:
            return names
        one = torch.tensor([index])
        episode = self.source.episodes(split, one)
        ids = self._new_ids(episode, self._keys(split, one, episode))[0].tolist()
        return [name for _, name in sorted(zip(ids, names, strict=True))]

    def _keys(self, split: str, indices: Tensor, episode: Episode) -> Tensor:
        device = episode.query.mask.device
        return rng.fold(rng.key(self.seed, "transformed", split, device=device), indices.to(device))

    def episodes(self, split: str, indices: Tensor) -> Episode:
        episode = self.source.episodes(split, indices)
        keys = self._keys(split, indices, episode)
        if self.shuffle_labels:
            ids = self._new_ids(episode, keys)
            episode = Episode(*(p._replace(y=_renamed(p, ids)) for p in episode))
        if self.target_offset:
            offset = self.target_offset * rng.normal(rng.fold(keys, _OFFSET))
            episode = Episode(*(_raised(part, offset) for part in episode))
        if self.shuffle_order:
            support, query = episode
            episode = Episode(_mixed(support, rng.fold(keys, _SUPPORT)), _mixed(query, rng.fold(keys, _QUERY)))
        return episode

    def _new_ids(self, episode: Episode, keys: Tensor) -> Tensor:
        """The new id of each class, (T, N): the classes that a task has change places, the others keep theirs."""
        ways = self.spec.ways
        present = torch.stack([(one_hot(p.y, ways) & p.mask[..., None]).any(1) for p in episode]).any(0)
        old, last = torch.arange(ways, device=keys.device), torch.iinfo(torch.int64).max
        in_order = torch.where(present, old, old + ways).argsort(dim=1)
        at_random = torch.where(present, rng.bits(rng.fold(keys, _LABELS), (ways,)), last).argsort(dim=1, stable=True)
        return torch.empty_like(in_order).scatter_(1, in_order, at_random)


def _renamed(part: Examples, ids: Tensor) -> Tensor:
    """The classes of a part by their new ids (T, N); padding, and what has no class, stays as it is."""
    return torch.where(part.mask & (part.y >= 0), ids.gather(1, part.y.clamp(min=0)), part.y)


def _raised(part: Examples, offset: Tensor) -> Examples:
    """The targets of a part plus the offset (T,) of its task; padding stays as it is."""
    added = part.mask * offset[:, None].to(part.y.dtype)
    return part._replace(y=part.y + added.reshape(*added.shape, *[1] * (part.y.dim() - 2)))


def _mixed(part: Examples, keys: Tensor) -> Examples:
    """The examples of a part in an order drawn by `keys` (T,)."""
    order = rng.permutation(keys, part.mask.shape[1])
    rows = torch.arange(len(order), device=order.device)[:, None]
    return Examples(map_features(lambda t: t[rows, order], part.x), part.y[rows, order], part.mask[rows, order])


def transformed(
    source: Source, *, shuffle_labels: bool = False, target_offset: float = 0.0, shuffle_order: bool = False
) -> Source:
    """`source` with these transformations; itself if there are none. See `Transformed`."""
    if not (shuffle_labels or target_offset or shuffle_order):
        return source
    return Transformed(
        source=source, shuffle_labels=shuffle_labels, target_offset=target_offset, shuffle_order=shuffle_order
    )

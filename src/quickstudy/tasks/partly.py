"""Tasks whose support sets also hold examples without a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from quickstudy.episode import Episode, Examples, map_features
from quickstudy.errors import ConfigError
from quickstudy.masked import UNLABELLED
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source
from quickstudy.tasks.wrapped import Wrapped


@dataclass(frozen=True, kw_only=True)
class PartlyLabelled(Wrapped):
    """The tasks of `source`, with further support examples that have no label (Ren et al. 2018).

    extra: how many of each class. distractors: so many further classes are drawn for each task, of which there are
    these examples alone. size: of the tasks, as learners see them.
    """

    source: Source
    extra: int
    distractors: int = 0
    size: Sampling

    @classmethod
    def of(cls, source: Source, extra: int, distractors: int = 0) -> PartlyLabelled:
        """Around a source of tasks of classes, in the size that it has."""
        source.spec.target.require_classes("unlabelled support examples", "Leave them out.")
        if extra < 1 or distractors < 0:
            raise ConfigError(
                f"There must be 1 unlabelled example of each class or more, found {extra}, and no negative number of "
                f"distractors, found {distractors}."
            )
        return cls(source=source, extra=extra, distractors=distractors, size=source.sampling).sampled(source.sampling)

    @property
    def inner(self) -> Source:
        return self.source

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        return self.size

    @property
    def spec(self) -> TaskSpec:  # type: ignore[override]
        return self.source.spec.at(self.size.ways)

    def around(self, change: Callable[[Source], Source]) -> Self:
        return replace(self, source=change(self.source))

    def sampled(self, sampling: Sampling) -> Self:
        if sampling.varies:
            raise ConfigError(
                "Tasks with unlabelled support examples are all of one size. Leave min_ways and min_shots out."
            )
        larger = replace(sampling, ways=sampling.ways + self.distractors, shots=sampling.shots + self.extra)
        return replace(self, source=self.source.sampled(larger), size=sampling)

    def class_names(self, split: str, index: int) -> list[str]:
        return self.source.class_names(split, index)[: self.size.ways]

    def episodes(self, split: str, indices: Tensor) -> Episode:
        support, query = self.source.episodes(split, indices)
        size = self.size
        place = torch.arange(support.mask.shape[1], device=support.mask.device)
        own, shot = place // (size.shots + self.extra), place % (size.shots + self.extra)
        told = (own < size.ways) & (shot < size.shots)
        seen = torch.cat([told.nonzero(), (shot >= size.shots).nonzero()]).flatten()
        asked = size.ways * size.queries
        y = torch.where(told, support.y, UNLABELLED)
        return Episode(
            Examples(map_features(lambda t: t[:, seen], support.x), y[:, seen], support.mask[:, seen]),
            Examples(map_features(lambda t: t[:, :asked], query.x), query.y[:, :asked], query.mask[:, :asked]),
        )

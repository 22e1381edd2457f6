"""Sources around a source: everything that such a wrapper does not change is the inner source's, by construction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from quickstudy.episode import Episode, Params
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Film
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, Source


class Wrapped(Source):
    """Base of wrappers: it forwards all that a source can be asked; a wrapper overrides what it changes."""

    @property
    @abstractmethod
    def inner(self) -> Source:
        """The source around which this one is."""

    @abstractmethod
    def around(self, change: Callable[[Source], Source]) -> Self:
        """The same wrapper around changed sources."""

    def _told(self) -> list[tuple[str, str]]:
        return [*super()._told(), ("around", type(self.inner).__name__)]

    def _holding(self, split: str) -> str:
        return self.inner._holding(split)

    @property
    def spec(self) -> TaskSpec:  # type: ignore[override]
        return self.inner.spec

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        return self.inner.sampling

    @property
    def seed(self) -> int:  # type: ignore[override]
        return self.inner.seed

    @property
    def balanced(self) -> bool:
        return self.inner.balanced

    @property
    def repeats(self) -> bool:
        return self.inner.repeats

    @property
    def longest(self) -> int:
        return self.inner.longest

    def episodes(self, split: str, indices: Tensor) -> Episode:
        return self.inner.episodes(split, indices)

    def under(self, learner: Any, params: Params) -> Self:
        return self.around(lambda source: source.under(learner, params))

    def others(self) -> dict[str, Source]:
        return {name: self.around(lambda _, one=one: one) for name, one in self.inner.others().items()}  # type: ignore[misc]

    def computed(self) -> dict[str, float]:
        return self.inner.computed()

    def filmed(self, split: str, index: int) -> Film | None:
        return self.inner.filmed(split, index)

    def sampled(self, sampling: Sampling) -> Self:
        return self.around(lambda source: source.sampled(sampling))

    def seeded(self, seed: int) -> Self:
        return self.around(lambda source: source.seeded(seed))

    def to(self, device: torch.device | str) -> Self:
        return self.around(lambda source: source.to(device))

    def plain(self) -> Self:
        return self.around(lambda source: source.plain())

    def parts(self, split: str) -> dict[str, Source]:
        parts = self.inner.parts(split)
        return {name: self.around(lambda _, part=part: part) for name, part in parts.items()}  # type: ignore[misc]

    def seen_as(self, format: Format) -> Self:
        return self.around(lambda source: source.seen_as(format))

    def only_for(self, split: str) -> Self:
        return self.around(lambda source: source.only_for(split))

    def known(self, split: str) -> None:
        self.inner.known(split)

    def check(self, split: str) -> None:
        self.inner.check(split)

    def classes(self, split: str) -> list[str]:
        return self.inner.classes(split)

    def arms(self, split: str) -> list[str]:
        return self.inner.arms(split)

    def arms_of(self, split: str, indices: Tensor) -> Tensor:
        return self.inner.arms_of(split, indices)

    def class_names(self, split: str, index: int) -> list[str]:
        return self.inner.class_names(split, index)


def innermost(source: Source) -> list[Source]:
    """The sources that wrap no others, of which a source is made."""
    found: list[Source] = []

    def note(inner: Source) -> Source:
        found.append(inner)
        return inner

    changed(source, note)
    return found


def changed(source: Source, change: Callable[[Source], Source]) -> Source:
    """The same source with each of its `innermost` ones changed."""
    return source.around(lambda inner: changed(inner, change)) if isinstance(source, Wrapped) else change(source)

"""What other code may ask of registered parts of each kind. They are said, and checked, where a part is registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What other code may ask of a registered part. hidden: left out of every list, but known by its name."""

    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class LearnerTraits(Traits):
    """head: its network ends in one output for each class or number. pretrains: it trains on all classes at once.

    context: its network has a context vector beside the input. dense: it answers for each pixel, of masks alone. acts:
    it learns from what it does in environments.
    """

    head: bool = False
    pretrains: bool = False
    context: bool = False
    dense: bool = False
    acts: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelTraits(Traits):
    """axes: how many axes one input must have, 0 where it is several tensors; None for any number. narrower, wider: it
    takes fewer, or more, columns than it was built for. several: it takes several tensors by their names. dense: for
    masks it says something of each pixel.

    drawn: the options, with their values, by which it has no weights from elsewhere; where φ is stored it is built so.
    settle: from all options to those that are stored with a run, so that it can be built again without what it was
    built from, or is refused where that has changed.
    """

    axes: int | None = None
    narrower: bool = False
    wider: bool = False
    several: bool = False
    dense: bool = False
    drawn: dict[str, Any] = field(default_factory=dict)
    settle: Callable[..., dict[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class SourceTraits(Traits):
    """data: what must be at hand for it, in words; empty where nothing is. places: the options that name files, which
    are stored as absolute paths.

    settle: as of a model: from all options to those that are stored with a run.
    """

    data: str = ""
    places: tuple[str, ...] = ()
    settle: Callable[..., dict[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class SelectorTraits(Traits):
    """blind: it looks at no feature."""

    blind: bool = False


@dataclass(frozen=True, kw_only=True)
class StrategyTraits(Traits):
    """experienced: it has nothing to go by without past tasks."""

    experienced: bool = False


@dataclass(frozen=True, kw_only=True)
class RecipeTraits(Traits):
    """There is nothing to ask of a recipe."""

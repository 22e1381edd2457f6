"""One task as tensors: a support set to learn from, a query set to be judged on, and what the numbers mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from quickstudy.errors import DataError, ShapeError

Params = dict[str, Tensor]
"""φ, or any part of it: a flat mapping from names to tensors."""
State = dict[str, Tensor]
"""ψ, what is known about one task after seeing its support set: a flat mapping from names to tensors."""
Features = Tensor | dict[str, Tensor]
"""Inputs of n examples: (n, *features), or a mapping of such tensors where one is not enough."""


class Examples(NamedTuple):
    """n labelled examples. Every leaf may carry a leading task axis T.

    x: (n, *features), or a dict of such tensors. y: (n,) int64 class ids in [0, ways), or (n, *target) float.
    mask: (n,) bool; False marks padding, so that unequal shots and ways cost no special case.
    """

    x: Features
    y: Tensor
    mask: Tensor


class Episode(NamedTuple):
    """One task, or T of them when every leaf has a leading task axis."""

    support: Examples
    query: Examples


@dataclass(frozen=True)
class ImageFormat:
    """How image files become tensors (channels, size, size) in [0, 1]; `invert` maps black ink on white to 1 on 0."""

    size: int
    channels: Literal[1, 3] = 1
    invert: bool = False


@dataclass(frozen=True)
class SeriesFormat:
    """How a time series becomes examples: a window of values, and the value that follows.

    window: how many values before a point are shown at most, each with a mask channel; the input is (window, 2).
    normalise: values are shown less the mean of the seen part of the series, in units of its spread.
    """

    window: int
    normalise: bool = True


@dataclass(frozen=True)
class TaskSpec:
    """What the tensors of a task mean; travels beside them.

    input_shape: shape of one x, without the example axis; () where x is a dict of tensors. ways: number of classes N
    (0 for regression). target_shape: of one regression target (() for classification). units: of the target, for
    reports. image: how files are turned into x, where x is an image. series: how x and y are made of a time series.
    """

    kind: Literal["classification", "regression"]
    input_shape: tuple[int, ...]
    ways: int = 0
    target_shape: tuple[int, ...] = ()
    units: str = ""
    image: ImageFormat | None = None
    series: SeriesFormat | None = None

    @property
    def outputs(self) -> int:
        """How many numbers a network must give for one example: N logits, or the size of the target."""
        return self.ways if self.kind == "classification" else math.prod(self.target_shape)


def map_features(function: Callable[[Tensor], Tensor], x: Features) -> Features:
    """Apply `function` to x, or to every tensor of it where x is a dict."""
    return {name: function(t) for name, t in x.items()} if isinstance(x, dict) else function(x)


def map_episode(function: Callable[[Tensor], Tensor], episode: Episode) -> Episode:
    """Apply `function` to every tensor of the episode: indexing one task, moving to a device, changing dtype."""
    return Episode(
        *(
            Examples(map_features(function, part.x), function(part.y), function(part.mask))
            for part in (episode.support, episode.query)
        )
    )


def task(episode: Episode, index: int) -> Episode:
    """Task `index` of a batch of episodes, without the task axis."""
    return map_episode(lambda t: t[index], episode)


def stack(episodes: list[Episode]) -> Episode:
    """Single episodes of equal shapes as one batch with a leading task axis."""

    def part(parts: list[Examples]) -> Examples:
        first = parts[0].x
        x: Features
        if isinstance(first, dict):
            x = {name: torch.stack([p.x[name] for p in parts if isinstance(p.x, dict)]) for name in first}
        else:
            x = torch.stack([p.x for p in parts if isinstance(p.x, Tensor)])
        return Examples(x, torch.stack([p.y for p in parts]), torch.stack([p.mask for p in parts]))

    return Episode(part([e.support for e in episodes]), part([e.query for e in episodes]))


def check_examples(examples: Examples, spec: TaskSpec, name: str = "support", tasks: bool = False) -> None:
    """Refuse tensors that do not fit `spec`, naming the axis and both sizes.

    examples: leaves of shape (n, …), or (T, n, …) with `tasks`. Raises ShapeError for a wrong shape or dtype and
    DataError for values that cannot be learned from, in padding too: NaN or infinite, class ids outside [0, ways).
    """
    lead = 2 if tasks else 1
    axes = ("task", "example") if tasks else ("example",)
    tensors = examples.x if isinstance(examples.x, dict) else {"x": examples.x}
    if examples.mask.dtype != torch.bool:
        raise ShapeError(f"{name}.mask must be bool (True = a real example), found {examples.mask.dtype}.")
    if examples.mask.dim() != lead:
        raise ShapeError(
            f"{name}.mask must have the axes {axes}, found shape {tuple(examples.mask.shape)}. "
            "Use torch.ones(n, dtype=torch.bool) where nothing is padded."
        )
    for label, tensor in {**tensors, "y": examples.y}.items():
        for axis, axis_name in enumerate(axes):
            found = tensor.shape[axis] if tensor.dim() > axis else None
            if found != examples.mask.shape[axis]:
                raise ShapeError(
                    f"{name}.{label} has size {found} along the {axis_name} axis (axis {axis}), but {name}.mask "
                    f"has {examples.mask.shape[axis]}. Give every tensor the same number of examples."
                )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(
                f"{name}.{label} holds NaN or infinite values. Remove or fill them (padding, where the mask is False, "
                "with 0)."
            )
    if isinstance(examples.x, Tensor):
        _check_shape(f"{name}.x", tuple(examples.x.shape[lead:]), spec.input_shape, lead)
        if not examples.x.is_floating_point():
            raise ShapeError(f"{name}.x must be floating point, found {examples.x.dtype}. Convert it with x.float().")
    if spec.kind == "regression":
        _check_shape(f"{name}.y", tuple(examples.y.shape[lead:]), spec.target_shape, lead)
        if not examples.y.is_floating_point():
            raise ShapeError(f"{name}.y holds regression targets and must be floating point, found {examples.y.dtype}.")
        return
    _check_shape(f"{name}.y", tuple(examples.y.shape[lead:]), (), lead)
    if examples.y.dtype != torch.int64:
        raise ShapeError(f"{name}.y holds class ids and must be int64, found {examples.y.dtype}. Use y.long().")
    ids = examples.y
    if ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < spec.ways):
        raise DataError(
            f"{name}.y holds class ids from {int(ids.min())} to {int(ids.max())}, but this is a {spec.ways}-way task: "
            f"ids must lie in [0, {spec.ways}). Number the classes of each task from 0, and give padding the id 0."
        )


def check_episode(episode: Episode, spec: TaskSpec, tasks: bool = False) -> None:
    """Check both parts of an episode (with a leading task axis if `tasks`); see `check_examples`."""
    check_examples(episode.support, spec, "support", tasks)
    check_examples(episode.query, spec, "query", tasks)


def _check_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...], lead: int) -> None:
    if len(found) != len(expected):
        raise ShapeError(
            f"{name} must have {len(expected)} axes after the example axis, of sizes {expected}; "
            f"found {len(found)}, of sizes {found}. Reshape it, or change the task's input_shape."
        )
    for axis, (have, want) in enumerate(zip(found, expected, strict=True)):
        if have != want:
            raise ShapeError(
                f"{name} has size {have} along axis {axis + lead}, expected {want} (one example is {expected})."
            )

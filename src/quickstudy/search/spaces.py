"""Spaces of networks, for what examples are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quickstudy.errors import ConfigError
from quickstudy.registry import Part, models
from quickstudy.space import Axis, Choice, Range, Space, Values
from quickstudy.spec import TaskSpec
from quickstudy.training.config import RunConfig


def space_of(spec: TaskSpec, like: Part[Any]) -> Part[Any]:
    """A model whose options are open: convolutional networks for images and spectrograms, recurrent ones for series,
    hashed encoders for texts, fully connected ones for numbers. like: the recipe's own network; what it leaves open
    itself is taken as it is.

    Raises ConfigError for examples for which there is none.
    """
    if like.space.axes:
        return like
    axes = len(spec.format.input_shape)
    if axes == 3 and not spec.target.grid:
        return models.part(
            "convnet", width=Range(8, 64, log=True), growth=Choice(1.0, 1.5, 2.0), depth=Range(3, 5),
            kernel=Choice(3, 5), separable=Choice(False, True), early=Range(0, 3),
        )  # fmt: skip
    if like.name == "lstm":
        return models.part("lstm", width=Range(8, 128, log=True), depth=Range(1, 2))
    if like.name == "ngrams":
        return models.part(
            "ngrams", width=Range(32, 512, log=True), size=Choice(1024, 2048, 4096, 8192), longest=Range(2, 6)
        )
    if like.name == "cells":
        return models.part("cells", width=Range(16, 128, log=True), depth=Range(1, 3))
    if axes == 1:
        return models.part("mlp", width=Range(8, 256, log=True), depth=Range(1, 4))
    raise ConfigError(
        f"There is no space of networks for {spec.format}. Leave options of the recipe's model open in a recipe of "
        "your own: models.part(NAME, width=quickstudy.space.Range(8, 64))."
    )


def shares(part: Part[Any]) -> bool:
    """Whether smaller networks of a space are parts of larger ones, so that one can be trained for all."""
    return part.name in ("convnet", "conv4", "mlp")


def with_network(config: RunConfig, point: Values) -> RunConfig:
    """The config, whose model leaves options open, with the network of a point."""
    return replace(config, model=config.model.at(point))


def corners(space: Space, both: bool = False) -> list[Values]:
    """The largest network for each combination of choices; with `both`, those at all ends of the ranges."""

    def ends(axis: Axis) -> Axis:
        if not isinstance(axis, Range):
            return axis
        return Choice(*dict.fromkeys((axis.high, axis.low) if both else (axis.high,)))

    return list(Space({name: ends(axis) for name, axis in space.axes.items()}).points())

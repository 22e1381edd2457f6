"""What there is to choose among for tasks of a kind: learners, networks and the numbers around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from quickstudy.errors import ConfigError, QuickstudyError
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.registry import Part, learners, models
from quickstudy.space import Axis, Choice, Range, Space, Values, When
from quickstudy.tasks.base import Source
from quickstudy.training.build import build, calibrated, initial_params
from quickstudy.training.config import RunConfig

RECIPE = "recipe"
"""The network of the recipe, as it stands there."""
_ANY_WAYS = ("protonet", "r2d2", "lrd2")  # learners whose training tasks may have more classes than those of evaluation
_OF_CELLS = ("axial",)  # learners that read cells, and no embeddings
_CELLS = ("cells", "columns")
_FAMILIES = (("conv4", "resnet8", "speech"), ("cells",), ("lstm",), ("mlp", "columns"), ("ngrams",))


def learners_of() -> dict[str, Part[Any]]:
    """Ways to learn a task, by name; which of them can learn the tasks at hand is found by building them."""
    one = learners.part
    return {
        "protonet": one("protonet"),
        "protonet, cosine": one("protonet", distance="cosine", temperature=10.0, learn_temperature=True),
        "r2d2": one("r2d2"),
        "lrd2": one("lrd2"),
        "simpleshot": one("simpleshot", smoothing=0.1),
        "anil": one("anil", lr=0.05, steps=5),
        "maml": one("maml", lr=0.02, steps=3, learn_rates=True),
        "metasgd": one("metasgd", lr=0.02, steps=2),
        "incontext": one("incontext", layers=3),
        "axial": one("axial", layers=2, hints=True),
        "anp": one("anp"),
        "rl2, gru": one("rl2"),
        "rl2, lstm": one("rl2", memory="lstm"),
        "rl2, fast": one("rl2", memory="fast"),
        "maml-rl": one("maml-rl"),
        "ppo": one("ppo"),
    }


def networks_of() -> dict[str, Part[Any]]:
    """Networks to learn with, by name; which of them take the examples at hand is said by their traits."""
    one = models.part
    return {
        "conv4, 32": one("conv4", width=32),
        "conv4, 64": one("conv4", width=64),
        "conv4, 128": one("conv4", width=128),
        "resnet8, 16": one("resnet8", widths=(16, 32, 64, 128)),
        "resnet8, 32": one("resnet8"),
        "speech, 32": one("speech"),
        "ngrams, 256": one("ngrams"),
        "ngrams, 512": one("ngrams", width=512, size=8192),
        "ngrams, short": one("ngrams", longest=3),
        "cells": one("cells"),
        "cells, deep": one("cells", depth=2),
        "columns": one("columns"),
        "mlp, 40": one("mlp"),
        "mlp, 128": one("mlp", width=128),
        "mlp, 128 x 3": one("mlp", width=128, depth=3),
        "lstm, 40": one("lstm"),
        "lstm, 96": one("lstm", width=96),
    }


@dataclass(frozen=True)
class Menu:
    """A recipe, and what may be put in the place of its parts and numbers.

    base: it trains as the recipe says. learners, networks: what there is for its tasks, by name; RECIPE is the recipe's
    own network. left_out: learners that cannot learn these tasks, and why. ways: of these tasks; 0 where they are of no
    classes. classes: of training; 0 where there is no end of them.
    """

    base: RunConfig
    learners: Mapping[str, Part[Any]]
    networks: Mapping[str, Part[Any]]
    left_out: Mapping[str, str]
    ways: int
    classes: int = 0

    @cached_property
    def space(self) -> Space:
        """Its options, by the same names and values for all tasks of a kind, so that experience carries over."""
        episodic = tuple(name for name, part in self.learners.items() if self._ways_vary(part))
        axes: dict[str, Axis] = {
            "learner": Choice(*self.learners),
            "network": Choice(*self.networks),
            "lr": Range(3e-4, 1e-2, log=True),
        }
        if episodic:
            axes["ways"] = Choice(1, 2, 4)
        return Space(axes, {"ways": When("learner", episodic)} if episodic else {})

    def config(self, values: Values) -> RunConfig:
        """The run that a point of the space stands for; the recipe itself where there are no values."""
        if not values:
            return self.base
        self.space.check(values)
        values = self.space.settled(values)
        base, learner = self.base, self.learners[values["learner"]]
        network = self.networks[values["network"]]
        changes: dict[str, Any] = {"learner": learner, "model": network, "lr": values["lr"]}
        changes |= {"train_ways": None, "min_ways": None, "iterations": max(1, base.iterations)}
        if (times := values.get("ways", 1)) > 1 and self._ways_vary(learner):
            ways = min(times * self.ways, self.classes or times * self.ways)
            changes |= {"train_ways": ways, "meta_batch": max(1, base.meta_batch // times)}
        if learners.traits(learner.name).head:
            changes |= {"clip": base.clip or 10.0}
        return replace(base, **changes)

    def _ways_vary(self, part: Part[Any]) -> bool:
        return self.ways > 1 and part.name in _ANY_WAYS


def menu(config: RunConfig, source: Source) -> Menu:
    """What there is for the tasks of `source`, which are those of `config`.

    Raises ConfigError where nothing but the recipe can learn them.
    """
    shaped = source.sampled(config.sampling)
    axes = len(shaped.spec.format.input_shape)
    alike = next((family for family in _FAMILIES if config.model.name in family), None)
    networks = {
        name: part
        for name, part in networks_of().items()
        if (alike is None or part.name in alike)
        and models.traits(part.name).axes in ((axes, None) if axes == 1 else (axes,))
        and models.traits(part.name).dense == bool(shaped.spec.target.grid)
    }
    if not any(_alike(config.model, part) for part in networks.values()):
        networks = {RECIPE: config.model} | networks
    offered, left_out = dict[str, Part[Any]](), dict[str, str]()
    for name, part in learners_of().items():
        if part.name in _OF_CELLS and config.model.name not in _CELLS:
            left_out[name] = "It reads the cells of tables, and these tasks have none."
            continue
        try:
            _try(replace(config, learner=part, train_ways=None, min_ways=None), source)
            offered[name] = part
        except QuickstudyError as error:
            left_out[name] = str(error)
    if not offered:
        raise ConfigError(
            f"There is nothing to choose among for these tasks, which are of {shaped.spec}: "
            f"{next(iter(left_out.values()))} Train the recipe {config.name!r}."
        )
    return Menu(config, offered, networks, left_out, shaped.spec.target.ways, len(source.classes("train")))


def _alike(one: Part[Any], other: Part[Any]) -> bool:
    return one.name == other.name and one.settings() == other.settings()


def _try(config: RunConfig, source: Source) -> None:
    """Learn two tasks with an untrained network; what cannot be learned is refused on the way."""
    parts = build(config, None, source)
    params = calibrated(parts, config, initial_params(parts, config))
    evaluate(parts.engine, params, parts.source, "val", 2, compare_supports=False)

"""From a config to its learner: around a model by name, a module of one's own, or for a φ that was stored."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from quickstudy.entries import CONSTANT, HEAD, INNER, PARAMETER, of_kind, require_alike
from quickstudy.episode import Params
from quickstudy.errors import CheckpointError, ConfigError, fitting_together
from quickstudy.learners import Learner, Network
from quickstudy.learners.copies import copied
from quickstudy.learners.given import as_given, freeze_all_but, giving
from quickstudy.learners.probe import probe, probe_learning
from quickstudy.learners.untied import refuse_shared
from quickstudy.models import WithContext
from quickstudy.models.encoders.keras import KerasModule, is_keras
from quickstudy.models.given import keep_weights
from quickstudy.registry import formats, learners, models
from quickstudy.spec import TaskSpec
from quickstudy.training.config import RunConfig

_OWN = (PARAMETER, HEAD, INNER, CONSTANT)  # what φ has from the beginning, and of the same shape for all tasks
_RESTORE = "Restore the file from a copy."


def build_learner(
    config: RunConfig, spec: TaskSpec, classes: int = 0, module: nn.Module | None = None, stored: bool = False
) -> Learner:
    """The config's learner around `module`, or around the config's model where none is given.

    classes: number of training classes, for learners that pretrain on all of them. stored: φ is at hand, so the model
    is neither given the weights that training began with, nor drawn.
    """
    traits, own = learners.traits(config.learner.name), module is not None
    if module is None:
        size = config.learner.settings()["context"] if traits.context else 0
        if len(spec.format.layout) > 1 and not models.traits(config.model.name).several:
            raise ConfigError(
                f"The model {config.model.name!r} takes one tensor, but these tasks are of {spec.format}, which are "
                f"several: {', '.join(spec.format.layout)}. Choose one that takes them by their names "
                f"({', '.join(f'--model {name}' for name in models if models.traits(name).several)}), or give a "
                "network of your own that does: qs.train(config, module=…)."
            )
        if spec.target.grid and not models.traits(config.model.name).dense:
            raise ConfigError(
                f"The model {config.model.name!r} says one thing of an image, but these are {spec.target}, of each "
                f"pixel. Choose {' or '.join(f'--model {name}' for name in models if models.traits(name).dense)}, or "
                "give a network of your own that does: qs.train(config, module=…)."
            )
        if size and models.traits(config.model.name).axes == 2:
            raise ConfigError(
                f"The learner {config.learner.name!r} puts a context beside vectors and images, but the model "
                f"{config.model.name!r} reads sequences. Choose maml, or a network of your own with a buffer 'context'."
            )
        model = config.model.drawn() if stored or config.init == "fresh" else config.model
        module = cast(nn.Module, model.build(_wider(spec, size) if size else spec, traits.head))
        module = WithContext(module, size) if size else module
        if stored:
            keep_weights(module)  # of which only the shapes matter, so that nothing need be drawn
    else:
        module = KerasModule(module) if is_keras(module) else module
        module = as_given(module) if config.init == "given" else module
    if config.trainable:
        module = copied(module)
        freeze_all_but(module, config.trainable)
    if not config.iterations and not traits.head and config.learner.options.get("tune") != "all":
        module = copied(module).requires_grad_(False)  # neither loop moves it, so its features can be kept
    options = {"classes": classes} if traits.pretrains else {}
    constructor = learners[config.learner.name]
    module, others = _apart(module, config.learner.name)
    if config.output:
        module = giving(module, config.output)
    if own:
        probe(Network(module), spec.format)
    learner = cast(Learner, constructor(module, spec, **others, **(config.learner.options | options)))
    if own:
        probe_learning(learner)
    return learner


def _apart(module: nn.Module, learner: str) -> tuple[nn.Module, dict[str, nn.Module]]:
    """The first network, and others by name, of an `nn.ModuleDict`; any other module is the first network itself.

    Raises ConfigError for networks that the learner does not take, ModelError for networks that share a layer.
    """
    if not isinstance(module, nn.ModuleDict):
        return module, {}
    takes = [
        name
        for name, parameter in inspect.signature(learners[learner]).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    others = {name: network for name, network in module.items() if name != "network"}
    strange = [name for name in others if name not in takes[2:]]
    if "network" not in module or strange:
        raise ConfigError(
            f"An nn.ModuleDict holds the networks of a learner by name: 'network', and for {learner!r} "
            f"{', '.join(map(repr, takes[2:])) or 'no other'}; found {', '.join(map(repr, module)) or 'none'}. Correct "
            "the names, or give a module of your own that calls them."
        )
    refuse_shared(dict(module.items()))
    return module["network"], others


def restored_learner(config: RunConfig, spec: TaskSpec, params: Params, module: nn.Module | None = None) -> Learner:
    """The learner whose φ was stored; CheckpointError, naming an entry, where φ is of another network."""
    size = sum(value.numel() for value in params.values())
    with fitting_together("What was stored describes no network that can be built", _RESTORE), _of_at_most(size):
        learner = build_learner(config, spec, classes=1, module=module, stored=True)
        fresh = learner.init(torch.Generator().manual_seed(0))
    if all(value.dtype == torch.float64 for value in params.values() if value.is_floating_point()):  # then ψ is, too
        fresh = {name: value.double() if value.is_floating_point() else value for name, value in fresh.items()}
    wanted, stored = ({name: value for name, value in some.items() if of_kind(name, _OWN)} for some in (fresh, params))
    require_alike(wanted, stored, "a learner with its settings", "What was stored")
    return learner


@contextmanager
def _of_at_most(numbers: int) -> Iterator[None]:
    """Within it, this thread refuses to build networks of more parameters: CheckpointError, before memory is filled.

    Settings that were damaged may describe a network larger than the memory.
    """
    built, thread = 0, threading.get_ident()

    def count(owner: nn.Module, name: str, value: nn.Parameter | None) -> None:
        nonlocal built
        if value is not None and threading.get_ident() == thread:
            built += value.numel()
            if built > 8 * numbers:  # layers are replaced while a network is built, and Keras registers each again
                raise CheckpointError(
                    f"What was stored has {numbers:,} numbers, but its settings describe a larger network: they do not "
                    f"belong together. {_RESTORE}"
                )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _wider(spec: TaskSpec, size: int) -> TaskSpec:
    """The tasks as a network sees them that is given `size` more numbers, or channels, beside each input."""
    channels, *space = spec.input_shape
    return replace(spec, format=formats.make("array", shape=(channels + size, *space)))

"""From a config to the things it names: source, network, learner, engine."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from quickstudy.engine import Engine, place, resolve_device
from quickstudy.engine.distribute import Group
from quickstudy.engine.kept import on_features
from quickstudy.engine.vectorize import tasks_of
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
from quickstudy.registry import OWN, formats, learners, models
from quickstudy.spec import TaskSpec, check_episode
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.transformed import transformed
from quickstudy.training.config import RunConfig
from quickstudy.training.start import taken_from, taught_by

_OWN = (PARAMETER, HEAD, INNER, CONSTANT)  # what φ has from the beginning, and of the same shape for all tasks
_RESTORE = "Restore the file from a copy."
_CALIBRATION = 1 << 40  # indices of the episodes that statistics are taken over; training never gets there


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


@dataclass(frozen=True)
class Parts:
    """What a run consists of. source: shaped for evaluation. training: where training episodes come from.

    stored: φ is at hand, so a model that is named has only the right shapes.
    """

    source: Source
    training: Source
    engine: Engine
    stored: bool = False

    @property
    def training_engine(self) -> Engine:
        """The engine with its learner built for the training tasks' number of ways."""
        learner = self.engine.learner
        return self.engine if learner.pretrains else replace(self.engine, learner=learner.at(self.training.spec))

    def check(self) -> None:
        """Refuse data that cannot give the tasks, and a source of the user's whose first episode is not as it says."""
        for source, split in ((self.training, "train"), (self.source, "val")):
            source.check(split)
            first = source.episodes(split, torch.zeros(1, dtype=torch.int64, device=self.engine.device))
            check_episode(first, source.spec, tasks=True)
        if self.source.classes("test"):
            self.source.check("test")  # or it would be noticed after training


def build(
    config: RunConfig, module: nn.Module | None = None, source: Source | None = None, stored: bool = False
) -> Parts:
    """Build everything `config` names, on its device. `module` and `source` replace the config's if given.

    stored: see `Parts`.
    """
    device = resolve_device(config.device)
    base = source if source is not None else cast(Source, config.tasks.build())
    base = base.seeded(config.seed).to(device)
    shaped = base.sampled(config.sampling)
    traits = learners.traits(config.learner.name)
    if traits.pretrains:
        if not isinstance(base, ClassSource):
            raise ConfigError(
                f"The learner {config.learner.name!r} trains on all classes at once, but {config.tasks.name!r} makes "
                "up classes task by task. Use tasks with a fixed set of classes: omniglot with glyphs=0, folder or "
                "arrays."
            )
        if config.shuffle_labels:
            raise ConfigError(
                f"The learner {config.learner.name!r} trains on all classes at once, each with an id of its own: "
                "shuffle_labels would leave nothing to learn. Leave it out."
            )
        pooled = base.pooled(config.batch)
        learner = build_learner(config, shaped.spec, pooled.spec.ways, module, stored)
        return Parts(shaped, pooled, _engine(learner, device, config), stored)
    training = base.sampled(config.train_sampling)
    learner = build_learner(config, shaped.spec, module=module, stored=stored)
    if traits.head and training.spec.outputs != shaped.spec.outputs:
        raise ConfigError(
            f"The learner {config.learner.name!r} has a head of {shaped.spec.ways} outputs and cannot train on "
            f"{training.spec.ways}-way tasks. Make --train-ways equal to --ways, or leave it out."
        )
    ordered = not learner.exchangeable
    shaped = transformed(shaped, shuffle_order=ordered)
    training = transformed(
        training, shuffle_labels=config.shuffle_labels, target_offset=config.target_offset, shuffle_order=ordered
    )
    return Parts(shaped, training, _engine(learner, device, config), stored)


def _engine(learner: Learner, device: torch.device, config: RunConfig) -> Engine:
    return Engine(learner, device, config.vectorize, config.precision, config.metagrad, config.metagrad_options)


def check_group(config: RunConfig, group: Group) -> None:
    """Refuse processes that cannot train `config` together: more of them than tasks, or with different settings."""
    if config.meta_batch < group.size:
        many = f"{config.meta_batch} task{'s' if config.meta_batch > 1 else ''}"
        pooled = (
            f" (for the learner {config.learner.name!r}, one batch of examples counts as a task)"
            if learners.traits(config.learner.name).pretrains
            else ""
        )
        raise ConfigError(
            f"An outer step has {many}{pooled}, but {group.size} processes were started, so that some would have "
            f"nothing to do. Start at most {config.meta_batch}, or train with --meta-batch {group.size} or more."
        )
    settings = group.gather(json.dumps(config.to_json(), sort_keys=True), "the comparison of settings")
    for rank, other in enumerate(settings):
        if other != settings[0]:
            raise ConfigError(
                f"Process {rank} was started with other settings than process 0, but they are to train one model. "
                "Start all with the same command."
            )


def calibrated(parts: Parts, config: RunConfig, params: Params) -> Params:
    """φ as it is used on new tasks: with BatchNorm statistics over training tasks, which are not augmented for it."""
    params = {name: value.detach() for name, value in params.items()}
    engine, training = on_features(parts.training_engine, params, parts.training.plain())
    indices = torch.arange(config.calibration_episodes, device=parts.engine.device) + _CALIBRATION
    episodes = list(tasks_of(training.episodes("train", indices)))
    with parts.engine.autocast():
        return engine.learner.calibrate(params, episodes)


def initial_params(parts: Parts, config: RunConfig) -> Params:
    """φ as training begins with it, on the run's device: what is not given is drawn from the config's seed."""
    learner = parts.engine.learner
    if parts.stored and config.model.name != OWN:
        learner = build_learner(config, learner.spec, getattr(learner, "classes", 0))
        parts = replace(parts, engine=replace(parts.engine, learner=learner))
    params = unfilled_params(parts, config)
    if config.start:
        params = params | taken_from(config.start, params)
    params = params | taught_by(config.teacher, params)
    return place(params, parts.engine.device, learner.inner_loop)


def unfilled_params(parts: Parts, config: RunConfig) -> Params:
    """φ by its names and shapes, on the run's device, for what is stored to be put into."""
    learner = parts.engine.learner
    params = learner.init(torch.Generator().manual_seed(config.seed))
    learner.require_entries(params)
    return place(params, parts.engine.device, learner.inner_loop)

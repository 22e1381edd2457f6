"""From a config to all that it names: source, learner, engine, and the φ that training begins with."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn

from quickstudy.brief import Brief
from quickstudy.engine import Engine, place, resolve_device
from quickstudy.engine.distribute import Group
from quickstudy.engine.kept import on_features
from quickstudy.engine.vectorize import tasks_of
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, DataError
from quickstudy.learners import Learner
from quickstudy.registry import OWN, learners
from quickstudy.spec import check_episode
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.partly import PartlyLabelled
from quickstudy.tasks.pooled import PooledSource
from quickstudy.tasks.transformed import transformed
from quickstudy.training.config import RunConfig
from quickstudy.training.learner import build_learner
from quickstudy.training.start import taken_from, taught_by

_CALIBRATION = 1 << 40  # indices of the episodes that statistics are taken over; training never gets there


@dataclass(frozen=True)
class Parts(Brief):
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
        """Refuse data that cannot give the tasks, and a source of the user's whose first episode is not as it says.

        What lacks in all splits is said at once.
        """
        self.training.under(self.engine.learner, {})  # refuses a learner that does not act, where one must
        used = [(self.training, "train"), (self.source, "val")]
        tested = [(self.source, "test")] if self.source.classes("test") else []  # or it would be noticed after training
        lacking = dict.fromkeys(filter(None, (_lacking(*one) for one in used + tested)))
        if lacking:
            raise DataError(" ".join(lacking))
        for source, split in used:
            first = source.episodes(split, torch.zeros(1, dtype=torch.int64, device=self.engine.device))
            check_episode(first, source.spec, tasks=True, partly=self.engine.learner.semi_supervised)


def _lacking(source: Source, split: str) -> str:
    """What a split lacks to give the tasks; nothing if it can."""
    try:
        source.check(split)
    except DataError as error:
        return str(error)
    return ""


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
        pooled = PooledSource(source=base, batch=config.batch)
        learner = build_learner(config, shaped.spec, pooled.spec.ways, module, stored)
        return Parts(shaped, pooled, _engine(learner, device, config), stored)
    training = base.sampled(config.train_sampling)
    learner = build_learner(config, shaped.spec, module=module, stored=stored)
    if traits.head and training.spec.outputs != shaped.spec.outputs:
        raise ConfigError(
            f"The learner {config.learner.name!r} has a head of {shaped.spec.ways} outputs and cannot train on "
            f"{training.spec.ways}-way tasks. Make --train-ways equal to --ways, or leave it out."
        )
    if config.unlabelled or config.distractors:
        if not learner.semi_supervised:
            raise ConfigError(
                f"The learner {config.learner.name!r} makes nothing of support examples without a label. Leave "
                "unlabelled and distractors out, or choose 'semi-protonet'."
            )
        shaped = PartlyLabelled.of(shaped, config.unlabelled, config.distractors)
        training = PartlyLabelled.of(training, config.unlabelled, config.distractors)
    shuffled = not learner.exchangeable and not learner.ordered
    shaped = transformed(shaped, shuffle_order=shuffled)
    training = transformed(
        training, shuffle_labels=config.shuffle_labels, target_offset=config.target_offset, shuffle_order=shuffled
    )
    return Parts(shaped, training, _engine(learner, device, config), stored)


def _engine(learner: Learner, device: torch.device, config: RunConfig) -> Engine:
    if config.precision == "bfloat16" and learners.traits(config.learner.name).acts:
        raise ConfigError(
            f"The learner {config.learner.name!r} acts in float32, and in bfloat16 it would not learn from what it has "
            "done: probabilities differ by more than a step changes them. Leave precision out, or use 'tf32'."
        )
    engine = Engine(learner, device, config.vectorize, config.precision, config.metagrad, config.metagrad_options)
    if engine.estimator.plays(learner) and config.reuse * config.parts > 1:
        raise ConfigError(
            f"What agents are paid says where φ should go from where it was when they played, and reuse={config.reuse} "
            f"with parts={config.parts} would go on with it from elsewhere. Leave both out, or use 'unrolled'."
        )
    return engine


def check_group(config: RunConfig, group: Group) -> None:
    """Refuse processes that cannot train `config` together: more of them than tasks, or with different settings."""
    if group.size > 1 and config.choose != "uniform":
        raise ConfigError(f"choose={config.choose!r} is for one process, and {group.size} were started. Leave it out.")
    most = config.meta_batch // config.parts
    if group.size > max(most, 1):
        many = f"{config.meta_batch} task{'s' if config.meta_batch > 1 else ''}"
        many += f" in {config.parts} parts" if config.parts > 1 else ""
        pooled = (
            f" (for the learner {config.learner.name!r}, one batch of examples counts as a task)"
            if learners.traits(config.learner.name).pretrains
            else ""
        )
        raise ConfigError(
            f"An outer step has {many}{pooled}, but {group.size} processes were started, so that some would have "
            f"nothing to do. Start at most {most}, or train with --meta-batch {group.size * config.parts} or more."
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
    training = training.under(engine.learner, params)
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

"""From a run to a memory, and from a bank alone: all that is needed to go on is stored beside φ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypedDict

import torch
from torch import nn

from quickstudy import registry
from quickstudy.deploy.model import Model
from quickstudy.deploy.support import SupportSet, support_set
from quickstudy.engine import place, resolve_device
from quickstudy.entries import PARAMETER, prefixed, reference
from quickstudy.episode import Params, task
from quickstudy.errors import CheckpointError, ConfigError, DataError
from quickstudy.formats.records import Broken, Records
from quickstudy.learners.memory import MemoryLearner
from quickstudy.memory.bank import Bank
from quickstudy.memory.codec import Codec
from quickstudy.memory.entry import Entry
from quickstudy.memory.memory import Keep, Memory
from quickstudy.memory.solved import Solved
from quickstudy.runs.run import Run
from quickstudy.spec import TaskSpec
from quickstudy.storage.json import fitting
from quickstudy.training.config import RunConfig
from quickstudy.training.learner import build_learner, restored_learner

_DESCRIBED = 64  # training tasks against whose mean descriptions are measured


def as_memory(config: RunConfig, **options: Any) -> RunConfig:
    """The same run with the learner 'memory', which takes over the inner rule, rate and steps.

    Raises ConfigError for a learner without an inner loop over the whole network.
    """
    settings = config.learner.settings()
    takes = registry.learners.part("memory").parameters()
    traits = registry.learners.traits(config.learner.name)
    fits = {"lr", "steps", "rule"} <= settings.keys() and not traits.pretrains and not traits.acts
    if not fits or "strength" in settings or settings.get("learn_rates") or settings.get("inner"):
        raise ConfigError(
            f"A memory holds the parameters that an inner loop ends at, and the learner {config.learner.name!r} has "
            "none over the whole network at fixed rates, on data that is given. Use a run of maml, fomaml, reptile or "
            "memory."
        )
    kept = {name: value for name, value in (settings | options).items() if name in takes and value is not None}
    return replace(config, learner=registry.learners.part("memory", **kept))


def memory_of_run(
    run: Run, bank: Bank, *, untrained: bool = False, codec: Any = "float32", keep: Any = "hash", **options: Any
) -> Memory:
    """A memory whose φ, network and tasks are a run's. untrained: φ as it was before training.

    options: of the learner 'memory', such as nearest and recall. Where the bank has a φ from an equal call, it goes on.
    """
    config = as_memory(run.config, **options)
    spec = run.parts.engine.learner.spec
    learner = _learner(config, spec, run._module)
    device = resolve_device(run.config.device)
    source = run.parts.training.plain()
    with torch.no_grad():
        some = source.episodes("train", torch.arange(_DESCRIBED))
        params = learner.calibrate(
            run.untrained() if untrained else run.params, [task(some, i) for i in range(_DESCRIBED)]
        )
    params = _known(bank, learner, params)
    facts = {"config": config.to_json(), "spec": spec.to_json()}
    return Memory(bank, learner, place(params, device, True), codec, keep, facts)


def _known(bank: Bank, learner: MemoryLearner, params: Params) -> Params:
    """A φ of the bank with the same network, if there is one: its statistics may differ by rounding, and what is
    described by others cannot be compared."""
    own = prefixed(PARAMETER, params)
    for id in bank.phi.ids():
        there, facts = bank.phi.load(id)
        same = prefixed(PARAMETER, there)
        options = facts.get("config", {}).get("learner", {}).get("options", {})
        alike = options.get("describe") == learner.describe and same.keys() == own.keys()
        if alike and all(torch.equal(value.cpu(), same[name]) for name, value in own.items()):
            return there
    return params


def memory_of_bank(
    bank: Bank, base: str | None = None, device: str = "auto", module: nn.Module | None = None
) -> Memory:
    """The memory that filled a bank; of several φ the newest, or the one called `base`.

    module: the network, where it was a module of your own; where it was not, it is not looked at.
    """
    known = bank.phi.ids()
    if not known and len(bank):
        raise DataError(
            f"The bank at {bank.uri} has {len(bank)} tasks but no φ, by which they are described. Restore it from a "
            "copy, or fill a new one from the run."
        )
    if not known:
        raise DataError(f"The bank at {bank.uri} is empty. Fill it: quickstudy memory build {bank.uri} --run RUN")
    params, facts = bank.phi.load(base or known[-1])
    if "config" not in facts:
        raise DataError("This bank was filled from Python, without a run's config. Use quickstudy.memory.Memory there.")
    fitting(facts, _Facts, f"What is told of the φ {base or known[-1]} of the bank at {bank.uri}")
    config, spec = RunConfig.from_json(facts["config"]), TaskSpec.from_json(facts["spec"])
    learner = restored_learner(config, spec, params, module if config.model.name == registry.OWN else None)
    if not isinstance(learner, MemoryLearner):
        raise CheckpointError(
            f"The bank at {bank.uri} was filled by the learner {config.learner.name!r}, which has no memory: what is "
            "told of its φ is damaged. Restore the bank from a copy."
        )
    own = {name: facts[name] for name in ("config", "spec")}
    return Memory(bank, learner, place(params, resolve_device(device), True), facts["codec"], facts["keep"], own)


class _Facts(TypedDict):
    """What is stored beside the φ of a run."""

    config: dict[str, Any]
    spec: dict[str, Any]
    codec: Codec
    keep: Keep


def search(memory: Memory, records: Records, count: int = 5, broken: Broken = "refuse") -> list[tuple[Entry, float]]:
    """The `count` remembered tasks most like the one of these records and labels, with their closeness."""
    support, _, _, spec, _ = _support(memory, records, broken)
    return memory.search(support, count, spec)


def adapted(memory: Memory, records: Records, *, broken: Broken = "refuse", **options: Any) -> tuple[Solved, Model]:
    """Learn the task of the user's records and labels; and the model that knows it, to predict with and to save.

    options: of `Memory.adapt`. The memories themselves are not part of the model.
    """
    support, names, fitted, spec, _ = _support(memory, records, broken)
    solved = memory.adapt(support, spec=spec, **options)
    params, state = (
        place(tensors, support.mask.device, memory.learner.inner_loop) for tensors in (memory.params, solved.state)
    )
    return solved, Model(
        RunConfig.from_json(memory.facts["config"]), memory.learner.at(spec).evaluated(), params, state, names, fitted,
        memory.learner.spec, {"recalled": [entry.name for entry, _ in solved.recalled], "support": len(support.mask)},
    )  # fmt: skip


def _support(memory: Memory, records: Records, broken: Broken) -> SupportSet:
    config = RunConfig.from_json(memory.facts["config"])
    return support_set(memory.learner, config, records.items, records.labels, reference(memory.params), broken)


def _learner(config: RunConfig, spec: TaskSpec, module: nn.Module | None) -> MemoryLearner:
    learner = build_learner(config, spec, module=module, stored=True)
    assert isinstance(learner, MemoryLearner)
    return learner

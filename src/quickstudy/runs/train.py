"""Training into a run folder: from the first step, or from where it was stopped."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from quickstudy.engine.distribute import Group, join
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, ProcessLost
from quickstudy.registry import OWN, models, sources
from quickstudy.runs.run import Run
from quickstudy.storage.atomic import GO_ON
from quickstudy.storage.folders import take_folder, take_run
from quickstudy.storage.held import Held
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.provenance import commit, machine
from quickstudy.storage.tensors import save_tensors
from quickstudy.tasks.base import Source
from quickstudy.training import splits
from quickstudy.training.build import Parts, build, check_group, initial_params
from quickstudy.training.config import RunConfig
from quickstudy.training.loop import Training
from quickstudy.training.outer import Outer


def train(
    config: RunConfig,
    *,
    out: str | Path | None = None,
    module: nn.Module | None = None,
    source: Source | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    minutes: float | None = None,
) -> Run:
    """Train as `config` says, into `out` (runs/<name> if not given), and return the run.

    module, source: a network or tasks of your own instead of the config's. minutes: training ends then, if it has not
    before, with a validation, and can be resumed; schedules go by steps and do not know of it. Raises Interrupted on
    Ctrl-C, after saving. Processes that were started together, with torchrun for instance, share the tasks of every
    step.
    """
    limit, group = _seconds(minutes), join()
    if module is not None:
        config = replace(config, model=models.part(OWN))
    if source is not None:
        config = replace(config, tasks=sources.part(OWN))
    with group.together("set-up", leader_first=True):
        config = config.settled()
    check_group(config, group)
    with group.together("set-up", leader_first=True):
        parts = build(config, module, source)
        parts.check()
        # What cannot be is refused before a folder is made.
        Outer(initial_params(parts, config), config.outer, parts.engine.learner.moves)
    with ExitStack() as stack:
        with group.together("set-up"):
            held = stack.enter_context(new_run(config, parts.source, out, overwrite)) if group.leads else None
        folder = Path(group.broadcast(str(held.folder) if held else "", "set-up"))
        return _continue(folder, parts, group, module, source, resume=False, quiet=quiet, limit=limit)


def keep(folder: Path, parts: Parts, params: Params, facts: dict[str, Any]) -> None:
    """Store a calibrated φ as the kept model of the run at `folder`. facts: of its validation."""
    meta = {
        "kind": "run",
        "kept_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(parts.engine.device),
        "spec": parts.engine.learner.spec.to_json(),
    }
    save_tensors(folder / "model.safetensors", params, meta | facts, GO_ON)


def new_run(config: RunConfig, source: Source, out: str | Path | None, overwrite: bool) -> Held:
    """Hold the folder of a new run, with all that training begins with in it."""
    held = take_folder(config.name, out, overwrite)
    try:
        describe(held.folder, config, source)
    except BaseException:
        held.release()
        raise
    return held


def describe(folder: Path, config: RunConfig, source: Source) -> None:
    """Write what a run is into its folder, the config last: with it, the run can go on."""
    splits.store(folder, source)
    write_json(folder / "config.json", config.to_json())


def resume(
    folder: str | Path,
    *,
    module: nn.Module | None = None,
    source: Source | None = None,
    iterations: int | None = None,
    quiet: bool = False,
    minutes: float | None = None,
) -> Run:
    """Go on with a run that was stopped, to the same bits as if it never had been, on the same machine.

    On another number of processes or threads than before, with another version of PyTorch or on another machine, to the
    same numbers but for rounding. All processes must see the folder. iterations: steps altogether, if they are to be
    more than the run was made for; its config then says so. minutes: of training altogether, as in `train`.
    """
    limit, group = _seconds(minutes), join()
    with group.together("set-up", leader_first=True):
        run = Run(folder, module, source)
        if iterations is not None:
            run.config = _longer(run.config, iterations)
        splits.check_unchanged(run.folder, run.parts.source)
        run.parts.check()
    check_group(run.config, group)
    with ExitStack() as stack:
        with group.together("set-up"):
            if group.leads:
                stack.enter_context(take_run(run.folder))
                if iterations is not None:
                    write_json(run.folder / "config.json", run.config.to_json())
        return _continue(run.folder, run.parts, group, module, source, resume=True, quiet=quiet, limit=limit)


def _seconds(minutes: float | None) -> float:
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"Training lasts more than 0 minutes, found {minutes}. Raise it, or leave it out.")
    return math.inf if minutes is None else 60 * minutes


def _longer(config: RunConfig, iterations: int) -> RunConfig:
    """The config for more steps; ConfigError where there are not more, or where the schedule has come to its end."""
    if iterations < config.iterations:
        raise ConfigError(
            f"The run was made for {config.iterations} steps, so it cannot be trained for {iterations}. Give more."
        )
    if config.outer.ends and iterations > config.iterations:
        raise ConfigError(
            f"The schedule {config.schedule!r} ends with the run, after {config.iterations} steps. Train a new run "
            "that starts from this one (--start RUN), with a schedule of its own."
        )
    return replace(config, iterations=iterations)


def _continue(
    folder: Path,
    parts: Parts,
    group: Group,
    module: nn.Module | None,
    source: Source | None,
    *,
    resume: bool,
    quiet: bool,
    limit: float,
) -> Run:
    with group.together("set-up"):
        config = RunConfig.from_json(read_json(folder / "config.json"))

    training = Training(parts, config, folder, partial(keep, folder, parts), group, limit)
    try:
        with group.together("set-up"):
            if resume:
                training.resume()
        training.run(quiet)
        group.wait("the end of training")  # until all is written
    except ProcessLost as error:
        raise ProcessLost(f"{error} Then go on from the last checkpoint: quickstudy train --resume {folder}") from error
    run = Run(folder, module, source)
    run.__dict__["parts"] = parts
    return run

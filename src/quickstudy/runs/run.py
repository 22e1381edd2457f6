"""A run folder: config, metrics, checkpoints, the kept model, results and the report of one training."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn

from quickstudy.deploy.model import Model, adapt
from quickstudy.engine import Engine, place, resolve_device
from quickstudy.engine.distribute import Group, join
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, ProcessLost, RunError
from quickstudy.evaluation.evaluate import Result, evaluate
from quickstudy.formats.records import Broken
from quickstudy.learners import IterativeLearner, Learner
from quickstudy.registry import OWN, models, sources
from quickstudy.spec import TaskSpec
from quickstudy.storage.atomic import GO_ON
from quickstudy.storage.folders import new_folder
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.provenance import commit, machine
from quickstudy.storage.tensors import load_tensors, save_tensors
from quickstudy.tasks.base import Sampling, Source
from quickstudy.training import splits
from quickstudy.training.build import Parts, build, build_learner, calibrated, check_group, initial_params
from quickstudy.training.config import RunConfig
from quickstudy.training.loop import Training
from quickstudy.training.metrics import read_metrics
from quickstudy.training.outer import Outer
from quickstudy.training.progress import Progress
from quickstudy.version import __version__


class Run:
    """A finished (or stopped) training, from which tasks are evaluated and learned.

    folder: its files. module, source: given where they were the user's own and cannot be built from the config.
    """

    def __init__(
        self,
        folder: str | Path,
        module: nn.Module | None = None,
        source: Source | None = None,
        device: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        if not (self.folder / "config.json").exists():
            raise RunError(
                f"{self.folder} is not a run: it has no config.json. `quickstudy list runs` shows the runs here."
            )
        config = RunConfig.from_json(read_json(self.folder / "config.json"))
        self.config = replace(config, device=device) if device else config
        self._module, self._source = module, source

    @cached_property
    def parts(self) -> Parts:
        """Source, network and engine. Raises DataError if classes that are held out today were trained on."""
        parts = build(self.config, self._module, self._source)
        splits.check(self.folder, parts.source)
        return parts

    @cached_property
    def _kept(self) -> tuple[Params, dict[str, Any]]:
        path = self.folder / "model.safetensors"
        if not path.exists():
            raise RunError(
                f"{self.folder} has no kept model yet: it was stopped before its first validation. Resume it."
            )
        return load_tensors(path, "run", {"spec": dict})

    @property
    def spec(self) -> TaskSpec:
        """What the tasks are that the run was trained for."""
        return TaskSpec.from_json(self.kept["spec"])

    @cached_property
    def learner(self) -> Learner:
        """The learner, built from what the run has stored: learning a new task needs no training data."""
        return build_learner(self.config, self.spec, classes=1, module=self._module)

    @cached_property
    def params(self) -> Params:
        """The kept φ, calibrated, on the run's device: of the best validation, or the last if none is held out."""
        return place(self._kept[0], resolve_device(self.config.device), self.learner.network.inner_loop)

    @property
    def kept(self) -> dict[str, Any]:
        """When the kept model was validated, with what result, and the code and machine that trained it."""
        return self._kept[1]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return read_metrics(self.folder)

    def untrained(self) -> Params:
        """φ as it was before the first step, calibrated: what training must beat."""
        return calibrated(self.parts, self.config, initial_params(self.parts, self.config))

    def sampled(
        self, sampling: Sampling, steps: int | None = None, learner: Learner | None = None
    ) -> tuple[Source, Engine]:
        """Source and engine for tasks of another size, another number of inner steps, or another learner."""
        if sampling.shots < 1:
            raise ConfigError(f"shots must be at least 1 to learn a task from, found {sampling.shots}.")
        source = self.parts.source.sampled(sampling)
        learner = (learner or self.parts.engine.learner).at(source.spec)
        if steps is not None:
            if not isinstance(learner, IterativeLearner):
                raise ConfigError(
                    f"The learner {self.config.learner.name!r} does not adapt in steps: leave --steps out."
                )
            learner = learner.with_steps(steps)
        return source, replace(self.parts.engine, learner=learner)

    def evaluate(
        self,
        *,
        ways: int | None = None,
        shots: int | None = None,
        queries: int | None = None,
        episodes: int = 1000,
        split: str = "test",
        steps: int | None = None,
        seed: int | None = None,
        params: Params | None = None,
        learner: Learner | None = None,
        compare_supports: bool = True,
        quiet: bool = True,
    ) -> Result:
        """Adapt to `episodes` tasks of `split` and measure; sizes not given are the run's own.

        params: other φ than the kept one, such as `untrained()`. learner: another than the run's, with the same φ.
        compare_supports: also find out whether the learner uses its support sets, as `Result.support`; costs as much as
        three times 64 tasks at most.
        """
        config = self.config
        size = Sampling(
            config.ways if ways is None else ways,
            config.shots if shots is None else shots,
            config.queries if queries is None else queries,
        )
        source, engine = self.sampled(size, steps, learner)
        source = source if seed is None else source.seeded(seed)
        with Progress(f"Evaluating {config.name} on {split} tasks", episodes, quiet=quiet) as progress:
            chosen = self.params if params is None else params
            return evaluate(engine, chosen, source, split, episodes, progress.update, compare_supports=compare_supports)

    def adapt(self, records: Any, labels: Any = None, broken: Broken = "refuse") -> Model:
        """Learn a new task from support records and their labels; one way for every kind of data.

        records: what the run's format takes: image files, arrays, rows of a table (or a data frame), or the seen values
        of a time series, which is its own labels. labels: a class name, or a number, for each. broken: whether a file
        that cannot be read stops everything, or is left out ('skip').
        """
        provenance = {
            "run": str(self.folder),
            "adapted_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "trained_at_commit": self.kept.get("commit", ""),
            "version": __version__,
        }
        return adapt(self.config, self.learner, self.params, records, labels, provenance, broken)


def train(
    config: RunConfig,
    *,
    out: str | Path | None = None,
    module: nn.Module | None = None,
    source: Source | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Run:
    """Train as `config` says, into `out` (runs/<name> if not given), and return the run.

    module, source: a network or tasks of your own instead of the config's. Raises Interrupted on Ctrl-C, after saving.
    Processes that were started together, with torchrun for instance, share the tasks of every step.
    """
    group = join()
    if module is not None:
        config = replace(config, model=models.part(OWN))
    if source is not None:
        config = replace(config, tasks=sources.part(OWN))
    check_group(config, group)
    with group.together("set-up", leader_first=True):
        parts = build(config, module, source)
        parts.check()
        Outer(initial_params(parts, config), config.outer)  # refuses what cannot be before a folder is made
    with group.together("set-up"):
        made = new_run(config, parts.source, out, overwrite) if group.leads else None
    folder = Path(group.broadcast(str(made), "set-up"))
    return _continue(folder, parts, group, module, source, resume=False, quiet=quiet)


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


def new_run(config: RunConfig, source: Source, out: str | Path | None, overwrite: bool) -> Path:
    folder = new_folder(config.name, out, overwrite)
    write_json(folder / "config.json", config.to_json())
    splits.store(folder, source)
    return folder


def resume(
    folder: str | Path, *, module: nn.Module | None = None, source: Source | None = None, quiet: bool = False
) -> Run:
    """Go on with a run that was stopped, to the same bits as if it never had been, on the same machine.

    On another number of processes or threads than before, with another version of PyTorch or on another machine, to the
    same numbers but for rounding. All processes must see the folder.
    """
    group = join()
    with group.together("set-up", leader_first=True):
        run = Run(folder, module, source)
        splits.check_unchanged(run.folder, run.parts.source)
        run.parts.check()
    check_group(run.config, group)
    return _continue(run.folder, run.parts, group, module, source, resume=True, quiet=quiet)


def _continue(
    folder: Path,
    parts: Parts,
    group: Group,
    module: nn.Module | None,
    source: Source | None,
    *,
    resume: bool,
    quiet: bool,
) -> Run:
    with group.together("set-up"):
        config = RunConfig.from_json(read_json(folder / "config.json"))

    training = Training(parts, config, folder, partial(keep, folder, parts), group)
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

"""What the commands share: reading options, finding runs, printing tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from quickstudy.cli import own
from quickstudy.deploy.model import Model
from quickstudy.deploy.store import NAME as MODEL
from quickstudy.deploy.store import read_model
from quickstudy.errors import ConfigError, first_of, unknown_name
from quickstudy.formats.records import Records
from quickstudy.registry import OWN, recipes, sources
from quickstudy.runs.run import Run
from quickstudy.shipped import places, pretrained
from quickstudy.spec import TaskSpec
from quickstudy.storage.folders import RUNS, runs
from quickstudy.targets.base import Target
from quickstudy.tasks.base import Source
from quickstudy.terminal import console, tell, visible
from quickstudy.training.config import RunConfig
from quickstudy.trust.task import TaskTrust

T = TypeVar("T")


def parse(kind: Callable[..., T], command: str, argv: Sequence[str], default: Any = None) -> T:
    """Options of `command` as an instance of the dataclass `kind`; tyro prints help and mistakes by itself."""
    import tyro

    extra = {} if default is None else {"default": default}
    options: T = tyro.cli(kind, prog=f"quickstudy {command}", args=list(argv), **extra)
    return options


def find_run(name: str, or_model: bool = False) -> Path:
    """The folder of a run: a path, a name under runs/, or that of one which comes with the package. ConfigError where
    there is none. or_model: what was looked for may have been an adapted model as well, which its message says."""
    for folder in (Path(name), RUNS / name, places.folder_of(name)):
        if (folder / "config.json").exists():
            return folder
    known = [*run_names(), *places.names()]
    if name in recipes:
        raise ConfigError(f"No run is called {name!r}: it is a recipe. Train it first: quickstudy train {name}.")
    if or_model:
        raise unknown_name("run or adapted model", name, [*known, *models()])
    raise unknown_name("run", name, known)


def is_here(name: str) -> bool:
    """Whether a run lies in that folder, or under runs/."""
    return any((folder / "config.json").exists() for folder in (Path(name), RUNS / name))


def run_names() -> list[str]:
    """The runs under runs/, by name."""
    return [folder.name for folder in runs()]


def models() -> list[str]:
    """The folders here that hold an adapted model, by name."""
    return sorted(path.parent.name for path in Path().glob(f"*/{MODEL}") if not (path.parent / "config.json").exists())


@dataclass
class Places:
    """Where the tasks' files lie today, if not where they were when the run was trained."""

    root: Path | None = None
    """The folder, of tasks from a folder."""
    path: Path | None = None
    """The file, of tasks from a file."""

    def tasks(self, config: RunConfig) -> Source | None:
        """The tasks of a run from these places; None where none is given. ConfigError where the tasks have no such."""
        given = {name: str(place) for name, place in vars(self).items() if place is not None}
        known = sources.traits(config.tasks.name).places
        for name in given:
            if name not in known:
                raise ConfigError(
                    f"--tasks.{name} was given, but the tasks {config.tasks.name!r} of this run have "
                    f"{'only --tasks.' + ', --tasks.'.join(known) if known else 'no files'}. Leave it out."
                )
        return replace(config.tasks, options=config.tasks.options | given).build() if given else None


def open_run(name: str, device: str | None = None, at: Places | None = None, or_model: bool = False) -> Run:
    """The run of that folder, of that name under runs/, or which comes with the package; with the network or tasks that
    imported files make.

    at: where its tasks' files lie today. or_model: as of `find_run`.
    """
    if name == places.TABLES and not is_here(name):
        return pretrained(name, device=device)
    folder = find_run(name, or_model)
    done = Run(folder, device=device)
    module, source = own.made_for(done.config)
    return Run(folder, module, source or (at.tasks(done.config) if at else None), device)


def open_model(folder: Path, device: str) -> Model:
    """The adapted model in `folder`; with the network that an imported file makes, where it was the user's own."""
    tensors, facts = read_model(folder)
    of_own = RunConfig.from_json(facts["config"]).model.name == OWN
    return Model.restored(tensors, facts, own.module() if of_own else None, device)


def one_task(records: Records, task: str | None, place: str, target: Target) -> Records:
    """The records of the one task called `task`; all of them where they are of one, or where nothing tells.

    With classes, what records belong to is no task, but a task may be of some of them.
    """
    if records.groups is None or (task is None and (target.relabels or len(set(records.groups)) == 1)):
        if task is not None:
            raise ConfigError(
                f"{place} does not tell tasks apart, so there is no task {task!r} in it. Leave --task out."
            )
        return records
    names = sorted(set(records.groups))
    if task is None:
        raise ConfigError(
            f"{place} holds {len(names)} tasks ({first_of(names)}), and one is "
            "learned at a time. Say which: --task NAME."
        )
    if task not in names:
        raise unknown_name("task", task, names)
    return records.chosen([i for i, group in enumerate(records.groups) if group == task])


def support_set(
    spec: TaskSpec, place: Path, task: str | None, find: Callable[[TaskSpec, Path], Records] | None = None
) -> Records:
    """The examples at a place to learn a task from; of the task called `task` where there are several. find: what finds
    them, if not `spec.find`."""
    found = one_task(spec.find(place) if find is None else find(spec, place), task, str(place), spec.target)
    return found if found.labels is None or spec.target.relabels else found._replace(labels=found.placed)


def learned(model: Model) -> str:
    """What a model has learned, and from how much: 'Learned 3 classes from 6 images'."""
    count, spec = model.provenance["support"], model.spec
    examples = f"{count} {spec.format.example}{'' if count == 1 else 's'}"
    told = f"Learned from {examples} how they go on" if spec.format.labels_itself else spec.target.learned(examples)
    if shift := model.provenance.get("shift"):
        told += f", after its {shift} followed {model.provenance['unlabelled']} unlabelled ones (transductive)"
    return told


def next_line(command: str, folder: str | Path) -> str:
    """The line that proposes a command on `folder`, as it can be typed."""
    return f"Next: {own.proposed(command, folder)}"


def next_predict(model: Model, folder: Path, place: Path | None, task: str | None = None) -> str:
    """The line that proposes to predict with the model in `folder`: what follows the series that it was adapted to, or
    records like those at `place` that it was not shown, under a name that they may have."""
    if model.spec.format.labels_itself and place is not None:
        which = [] if task is None else ["--task", task]
        return f"Next: {own.proposed('predict', folder, place, *which, '--out', 'predictions.csv')}"
    masks = bool(model.spec.target.grid)
    like_them = "unsorted" if place is None or place.is_dir() else f"unseen{place.suffix}"
    command = own.proposed("predict", folder, like_them, "--out", "masks" if masks else "predictions.csv")
    return f"Next, for {model.spec.format.what} that it was not shown: {command}"


def tell_estimate(model: Model) -> None:
    """Print how often a model is right, as far as that is known, and what makes it doubtful."""
    if model.trust is not None and model.spec.target.calibrates:
        tell(f"How often it is right, as far as its examples tell: {model.estimate}")
        if isinstance(model.trust, TaskTrust) and model.trust.calibration.known is None:
            tell("It cannot tell an input that is of none of its classes: too few validation tasks had such inputs.")


def warn(text: str) -> None:
    """Print a warning; nothing if there is none."""
    if text:
        tell(f"Warning: {text}")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    from rich.table import Table

    drawn = Table(title=visible(title), title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        drawn.add_column(visible(column), no_wrap=index == 0)
    for row in rows:
        drawn.add_row(*map(visible, row))
    console().print(drawn)

"""`quickstudy adapt RUN --support PLACE`: learn a new task from a few examples; or change a model that has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import tyro

from quickstudy.cli import growing
from quickstudy.cli.parse import is_here, learned, next_predict, open_run, parse, support_set, tell_estimate
from quickstudy.cli.settings import taken, with_part
from quickstudy.deploy.domain import Shift
from quickstudy.deploy.grown import IfWorse
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Broken
from quickstudy.hub import local
from quickstudy.registry import Part, sources
from quickstudy.runs.run import Run
from quickstudy.shipped import pretrained
from quickstudy.shipped.places import PHOTOS
from quickstudy.storage.folders import refuse_occupied
from quickstudy.terminal import tell


@dataclass
class Adapt:
    """Learn a new task from a few examples, and save the model that knows it; or change such a model."""

    run: tyro.conf.Positional[str]
    """A run: its folder, its name under runs/, or one that comes with the package (quickstudy list pretrained). With
    --more, --without and --undo, the folder of a model."""
    out: Path | None = None
    """Folder to write the adapted model to. Of a model that is changed: where to, if not into its own folder."""
    support: Path | None = None
    """The examples, as the run's format has them: a folder with one sub-folder of files for each class, whose name is
    the class; a file of rows with their labels (CSV, TSV, Parquet); or a CSV file of the seen values of a series."""
    environment: str | None = None
    """For agents, what to act in instead of examples: an id of Gymnasium, a Python file with a function make(), or the
    name of a task source of environments. It has the options of `--tasks`: --environment.horizon 50
    --environment.vary "length 0.5"."""
    episodes: int | None = None
    """Episodes in the environment; the run's shots if not given."""
    classes: tuple[str, ...] = ()
    """Names of classes that are examples of them, for runs on texts; with these, other examples need not be given."""
    template: str = "{}"
    """What names are put into, such as "a question about {}"."""
    unlabelled: Path | None = None
    """A file, or a folder of unsorted files, for learners that learn from examples without a class as well, or for
    --shift."""
    shift: Shift = "none"
    """What follows the unlabelled inputs, where they are of another domain than training was: the statistics of
    normalisation layers, or their weights as well, so that answers become sure (entropy). Transductive."""
    shift_steps: int = 10
    """Steps of entropy."""
    task: str | None = None
    """Which task, where the file holds several: the name of a series, or of a group of rows."""
    target: str | None = None
    """The column of rows that holds what is to be told, such as the class of a text, if it is not called as where the
    run was trained."""
    text: str | None = None
    """The column of rows that holds the texts, if it is not called as where the run was trained."""
    exclude: tuple[str, ...] = ()
    """Columns of rows to leave out, such as an id."""
    categories: tuple[str, ...] = ()
    """Columns of rows whose cells are names of things though they look like numbers."""
    broken: Broken = "refuse"
    """What to do with a record that cannot be read: refuse all, or skip it."""
    trust: bool = True
    """Estimate how often the model is right, and let it say which inputs are of none of its classes, where classes are
    held out for validation; takes up to minutes the first time a run is adapted."""
    keep: bool = True
    """Whether the model keeps the examples, so that it can grow by --more and forget by --without."""
    more: Path | None = None
    """Further examples for a model that is there, as --support has them: of its classes, or of new ones. It becomes the
    model of all examples; what was there stays as a version."""
    without: tuple[str, ...] = ()
    """Classes that a model is to forget, before any more."""
    undo: bool = False
    """Bring back the model from before the last change."""
    if_worse: IfWorse = "say"
    """What to do with a change after which the model is worse on the examples that it knew: say it, or refuse it."""
    encoder: str | None = None
    """For `photos`, what it stands on: a model of timm by its name, a folder that timm wrote, or an .onnx file."""
    device: str | None = None
    """Another device than the run's."""


def run(argv: Sequence[str]) -> int:
    environment, rest = _environment(argv)
    kind = Adapt if environment is None else with_part(Adapt, "environment", environment)
    options: Any = parse(kind, "adapt", rest)
    if growing.asked(options):
        return growing.change(options)
    if options.out is None:
        raise ConfigError("Say where to write the adapted model: --out FOLDER.")
    refuse_occupied(options.out)
    if options.encoder is not None or (options.run == PHOTOS and not is_here(PHOTOS)):
        done = pretrained(options.run, encoder=options.encoder, device=options.device)
    else:
        done = open_run(options.run, options.device)
    if options.environment is not None:
        assert environment is not None
        return _acting(done, options, environment)
    if options.episodes is not None:
        raise ConfigError("Episodes are of an environment. Name it (--environment), or leave --episodes out.")
    if options.support is None and not options.classes:
        raise ConfigError("Give the examples of each class (--support), or, of texts, names of classes (--classes).")
    said = {"label": options.target, "text": options.text, "exclude": options.exclude, "categories": options.categories}
    columns: dict[str, Any] = {name: value for name, value in said.items() if value}
    spec, support, labels = done.learner.spec, None, None
    if options.support is not None:
        told = replace(spec, format=spec.format.told(**columns))
        found = support_set(told, options.support, options.task)
        support, labels = found.items, found.labels
    if done.spec.target.promises != "nothing" and options.trust:
        done.believed(quiet=False, fit=True)  # once for a run; its time is not that of adapting
    began = time.perf_counter()
    further = options.unlabelled
    extra = None if further is None else spec.format.find(local(further), labelled=False).items
    model = done.adapt(
        support, labels, options.broken, unlabelled=extra, shift=options.shift, shift_steps=options.shift_steps,
        classes=options.classes, template=options.template, trust=options.trust, keep=options.keep, **columns,
    )  # fmt: skip
    took = time.perf_counter() - began
    model.save(options.out)
    tell(f"{learned(model)} in {1000 * took:.0f} ms: {options.out}")
    tell_estimate(model)
    tell(next_predict(model, options.out, options.support, options.task))
    return 0


def _environment(argv: Sequence[str]) -> tuple[Part[Any] | None, list[str]]:
    """The task source that --environment names, and the other arguments. An id or a file is one of Gymnasium."""
    names, rest = taken("--environment", argv)
    if not names:
        return None, rest
    name = names[-1]
    return sources.part(name) if name in sources else sources.part("gym", id=name, alone=True), rest


def _acting(done: Run, options: Any, place: Part[Any]) -> int:
    """Adapt an agent to an environment."""
    given = {one.name: getattr(options.environment, one.name) for one in fields(options.environment)}
    place = replace(place, options=given)
    own = (options.support, options.unlabelled, options.task, options.target, options.text)
    if any(one is not None for one in own) or options.classes or options.exclude or options.shift != "none":
        raise ConfigError("An agent collects its own examples: give --environment and --episodes alone.")
    began = time.perf_counter()
    model = done.adapt(place, episodes=options.episodes)
    took = time.perf_counter() - began
    model.save(options.out)
    tell(f"Learned from {model.provenance['support']} steps in {took:.1f} s: {options.out}")
    tell(f'Next, in Python: quickstudy.Model.load("{options.out}").act(observation, reward)')
    if model.spec.target.require_actions("Acting", "").size:
        tell("Its numbers are in [-1, 1]; to the bounds of Gymnasium: .actor(space=env.action_space).act(…)")
    return 0

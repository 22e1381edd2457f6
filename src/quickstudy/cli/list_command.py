"""`quickstudy list recipes|learners|models|tasks|formats|targets|selectors|strategies|pretrained|runs`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from quickstudy import registry
from quickstudy.cli.parse import parse, run_names, table
from quickstudy.errors import QuickstudyError
from quickstudy.runs.card import read_card, shown
from quickstudy.runs.run import Run
from quickstudy.shipped import places
from quickstudy.storage.folders import RUNS
from quickstudy.terminal import tell
from quickstudy.training.splits import ON_TRAINING_CLASSES

_KINDS: dict[str, registry.Registry[Any, Any]] = {
    "recipes": registry.recipes,
    "learners": registry.learners,
    "models": registry.models,
    "tasks": registry.sources,
    "formats": registry.formats,
    "targets": registry.targets,
    "selectors": registry.selectors,
    "strategies": registry.strategies,
}


@dataclass
class List:
    """Show what there is."""

    what: tyro.conf.Positional[
        Literal[
            "recipes",
            "learners",
            "models",
            "tasks",
            "formats",
            "targets",
            "selectors",
            "strategies",
            "pretrained",
            "runs",
        ]
    ]
    """What to list."""
    plain: bool = False
    """Names only, one a line."""


def run(argv: Sequence[str]) -> int:
    options = parse(List, "list", argv)
    elsewhere = {"runs": run_names, "pretrained": places.names}
    names = elsewhere[options.what]() if options.what in elsewhere else list(_KINDS[options.what])
    if options.what == "recipes":
        names.sort(key=lambda name: not _of_own(name))
    if options.plain:
        tell(*names)
    elif options.what == "pretrained":
        table("", ["pretrained", "what it is", "on unseen tasks", "size"], [_model_row(name) for name in names])
        tell("And photos, over an encoder of others: quickstudy adapt photos --support FOLDER --out MODEL")
    elif options.what == "runs":
        if not names:
            tell(f"There are no runs under {RUNS.resolve()} yet. Start one: quickstudy train omniglot-protonet")
            return 0
        table("", ["run", "learner", "tasks", "kept, on validation", "at step"], [_run_row(name) for name in names])
    else:
        table("", [options.what, "what it is"], [[name, _KINDS[options.what].summary(name)] for name in names])
    return 0


def _of_own(recipe: str) -> bool:
    """Whether a recipe is for data that the user says the place of."""
    tasks = registry.recipes[recipe]().tasks
    places = registry.sources.traits(tasks.name).places
    return any(tasks.parameters()[place].default is inspect.Parameter.empty for place in places)


def _model_row(name: str) -> list[str]:
    """One model of the package: what its card says first, and how large its file is."""
    folder = places.folder_of(name)
    size = f"{(folder / 'model.safetensors').stat().st_size / 1e6:.2f} MB"
    if name == places.TABLES:
        return [name, "Either of the two below, as the labels are", "", ""]
    card = read_card(folder)
    assert card is not None
    best = [one for one in card["figures"] if not one.get("of")]
    return [name, card["summary"], f"{best[0]['what']}: {best[0]['metric']} {shown(best[0])}" if best else "", size]


def _run_row(name: str) -> list[str]:
    """One run; where something of it is damaged, its row says so."""
    try:
        run = Run(RUNS / name)
        parts = [run.config.learner.name, run.config.tasks.name]
    except QuickstudyError as error:
        return [name, "", "", f"config damaged: {str(error)[:80]} …", ""]
    if not (run.folder / "model.safetensors").exists():
        return [name, *parts, "not yet validated", ""]
    try:
        facts = run.kept
    except QuickstudyError as error:
        return [name, *parts, f"model damaged: {str(error)[:80]} …", ""]
    figure = f"{facts['validation']:.4f} ± {facts['validation_ci95']:.4f}"
    figure += "" if facts.get("held_out", True) else f" ({ON_TRAINING_CLASSES})"
    return [name, *parts, figure, str(facts["step"])]

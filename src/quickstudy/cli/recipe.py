"""What commands share that begin with a recipe: reading it, and what is said at their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from quickstudy.cli import own
from quickstudy.cli.parse import parse
from quickstudy.cli.settings import Settings, chosen_parts, load_recipe, taken
from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.registry import recipes
from quickstudy.tasks.base import Source
from quickstudy.terminal import complain, tell
from quickstudy.training.config import RunConfig


@dataclass
class Resume:
    """Go on with a search that was stopped or killed."""

    folder: tyro.conf.Positional[Path]
    """The folder of the search."""
    report: bool = True
    """Write the report page."""


Extra = Sequence[tuple[str, Any, Any, str]]
"""Options of a command beside those of a config: name, annotation, default, description."""


def read(named: str, rest: Sequence[str], command: str, extra: Extra) -> tuple[RunConfig, Any, list[str]]:
    """The config that a recipe and options make, the options of the command, and what to tell the user."""
    config, rest, notes = chosen_parts(load_recipe(named), rest)
    settings = Settings.of(config, extra)
    parsed = parse(settings.kind, f"{command} {named}", rest)
    return settings.apply(parsed), parsed, notes


def searched(argv: Sequence[str], command: str, extra: Extra) -> tuple[RunConfig, Any, Source | None]:
    """The config that a search begins with, the options of its command, and tasks of the user's own.

    ConfigError for a network of the user's own: a search builds many, by their names.
    """
    named, rest = recipe_and_rest(argv, command)
    config, parsed, notes = read(named, rest, command, extra)
    for note in notes:
        complain(note)
    module, source = own.made_for(config)
    if module is not None:
        raise ConfigError(
            "A search builds networks by their names, so that it cannot have one of your own. Register it as a model "
            "(--import FILE.py with @quickstudy.registry.models.register), and name it: --model NAME."
        )
    return config, parsed, source


def reported(write: Callable[[], Path]) -> bool:
    """Write a report and say where it lies, or why there is none; whether there is one."""
    try:
        tell(f"Report: {write()}")
    except MissingExtra as error:
        complain(f"There is no report page: {error}")
        return False
    return True


def ended(folder: Path, command: str, *words: str | Path) -> None:
    """The last lines: where a run lies, and a command to go on with."""
    tell(f"Run: {folder}")
    tell(f"Next: {own.proposed(command, *words)}")


def recipe_and_rest(argv: Sequence[str], command: str) -> tuple[str, list[str]]:
    """The name of the recipe, and the other arguments. ConfigError where nothing tells which it is."""
    if not argv[0].startswith("-"):
        return argv[0], list(argv[1:])
    names, _ = taken("--tasks", argv, "a name after it")
    if not names:
        raise ConfigError(f"Name a recipe or tasks. Example: quickstudy {command} photos --tasks.root my-photos")
    for name in recipes:
        if recipes[name]().tasks.name == names[-1]:
            return name, list(argv)
    raise ConfigError(
        f"There is no recipe for the tasks {names[-1]!r}. Name one to begin with, whose numbers are taken: quickstudy "
        f"{command} RECIPE --tasks {names[-1]}."
    )

"""Which recipe a command begins with: the one that is named, or the one for the tasks that are."""

from __future__ import annotations

from collections.abc import Sequence

from quickstudy.cli.settings import taken
from quickstudy.errors import ConfigError
from quickstudy.registry import recipes


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

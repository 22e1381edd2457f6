"""`quickstudy reproduce RECIPE`: train, then measure every figure the recipe publishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from quickstudy.cli.parse import open_run, parse, warn
from quickstudy.cli.settings import load_recipe
from quickstudy.evaluation.result import Result
from quickstudy.registry import recipes
from quickstudy.runs.reproduce import measure, reproduce
from quickstudy.runs.results import Stored
from quickstudy.storage.json import read_json
from quickstudy.terminal import tell


@dataclass
class Reproduce:
    """Train a recipe as it stands, measure its protocols, and store every number in one JSON file."""

    recipe: tyro.conf.Positional[str]
    """A name from `quickstudy list recipes`, a Python file with a function recipe(), or 'all' that publish figures."""
    out: Path = Path("results")
    """Folder for <recipe>.json."""
    run: str | None = None
    """Measure this run of the recipe instead of training a new one."""


def run(argv: Sequence[str]) -> int:
    options = parse(Reproduce, "reproduce", argv)
    if options.run is not None:
        config = load_recipe(options.recipe)
        path = measure(open_run(options.run), options.out / f"{config.name}.json", recipe=config)
        _say(path)
        return 0
    if options.recipe == "all":
        configs = [config for config in (load_recipe(name) for name in recipes) if config.protocols]
    else:
        configs = [load_recipe(options.recipe)]
    for config in configs:
        _say(reproduce(config, options.out / f"{config.name}.json"))
    return 0


def _say(path: Path) -> None:
    tell(f"Wrote {path}")
    for entry in read_json(path, Stored)["protocols"]:
        warning = Result.from_json(entry["result"]).warning
        warn(warning and f"{entry['protocol']['name']}: {warning}")

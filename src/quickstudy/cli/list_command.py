"""`quickstudy list recipes|learners|models|tasks|formats|targets|runs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from quickstudy import registry
from quickstudy.cli.parse import parse, run_names, table
from quickstudy.errors import CheckpointError
from quickstudy.storage.folders import RUNS
from quickstudy.storage.json import read_json
from quickstudy.storage.tensors import load_tensors
from quickstudy.training.splits import ON_TRAINING_CLASSES

_KINDS: dict[str, registry.Registry[Any, Any]] = {
    "recipes": registry.recipes,
    "learners": registry.learners,
    "models": registry.models,
    "tasks": registry.sources,
    "formats": registry.formats,
    "targets": registry.targets,
}


@dataclass
class List:
    """Show what there is."""

    what: tyro.conf.Positional[Literal["recipes", "learners", "models", "tasks", "formats", "targets", "runs"]]
    """What to list."""
    plain: bool = False
    """Names only, one a line."""


def run(argv: Sequence[str]) -> int:
    options = parse(List, "list", argv)
    names = run_names() if options.what == "runs" else list(_KINDS[options.what])
    if options.plain:
        print("\n".join(names))
    elif options.what == "runs":
        if not names:
            print(f"There are no runs under {RUNS.resolve()} yet. Start one: quickstudy train omniglot-protonet")
            return 0
        table("", ["run", "learner", "tasks", "kept, on validation", "at step"], [_run_row(name) for name in names])
    else:
        table("", [options.what, "what it is"], [[name, _KINDS[options.what].summary(name)] for name in names])
    return 0


def _run_row(name: str) -> list[str]:
    config = read_json(RUNS / name / "config.json")
    parts = [config[kind]["name"] for kind in ("learner", "tasks")]
    model = RUNS / name / "model.safetensors"
    if not model.exists():
        return [name, *parts, "not yet validated", ""]
    try:
        _, facts = load_tensors(model, "run", {"validation": float, "validation_ci95": float, "step": int})
    except CheckpointError:
        return [name, *parts, "model damaged", ""]
    figure = f"{facts['validation']:.4f} ± {facts['validation_ci95']:.4f}"
    figure += "" if facts.get("held_out", True) else f" ({ON_TRAINING_CLASSES})"
    return [name, *parts, figure, str(facts["step"])]

"""`quickstudy adapt MODEL --more PLACE`, `--without CLASS …`, `--undo`: a model that grows, forgets and goes back."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from quickstudy.cli import own
from quickstudy.cli.parse import learned, next_predict, open_model, support_set, tell_estimate
from quickstudy.deploy.grown import Effect
from quickstudy.deploy.labelled import records_at
from quickstudy.deploy.model import Model
from quickstudy.deploy.store import NAME, read_model
from quickstudy.deploy.versions import VERSIONS, undo, versions
from quickstudy.errors import ConfigError
from quickstudy.hub import local
from quickstudy.storage.folders import refuse_occupied
from quickstudy.storage.held import alone
from quickstudy.terminal import tell

_TAKEN = ("run", "more", "without", "undo", "if_worse", "out", "task", "broken", "keep", "device")


def asked(options: Any) -> bool:
    """Whether the options of `quickstudy adapt` are of a model that is there; ConfigError for one without a change."""
    if options.more is not None or options.without or options.undo:
        own = [one for one in fields(options) if one.name not in _TAKEN]
        strange = [one.name for one in own if getattr(options, one.name) != one.default]
        if strange:
            off = getattr(options, strange[0]) is False
            flag = f"--{'no-' if off else ''}{strange[0].replace('_', '-')}"
            raise ConfigError(f"{flag} is of a run that is adapted. Leave it out: a model is there already.")
        if options.undo and (options.more is not None or options.without or options.out is not None):
            raise ConfigError("--undo brings back the model before the last change. Leave the other options out.")
        return True
    folder = Path(options.run)
    if (folder / NAME).exists() and not (folder / "config.json").exists():
        raise ConfigError(
            f"{folder} is an adapted model already. Say what is to change: --more EXAMPLES, --without CLASS, or --undo."
        )
    return False


def change(options: Any) -> int:
    """Change the model in a folder, or write a changed one to --out."""
    folder = Path(options.run)
    if not (folder / NAME).exists() or (folder / "config.json").exists():
        read_model(folder)  # says what is there instead
    if options.undo:
        return _undone(folder)
    if options.out is not None:
        refuse_occupied(options.out)
    with alone(folder):
        model = open_model(folder, options.device or "auto")
        began = time.perf_counter()
        changed = _changed(model, options)
        took = time.perf_counter() - began
        place = changed.save(folder, replacing=True) if options.out is None else changed.save(options.out)
    tell(f"{learned(changed)} in {1000 * took:.0f} ms: {place}")
    for one in changed.provenance["history"][len(model.provenance.get("history", ())) :]:
        for what in ("added", "gone"):
            if names := one[f"classes {what}"]:
                tell(f"Classes {what}: {', '.join(names)}")
        if "known" in one:
            tell(str(Effect.of(one["known"])))
    tell_estimate(changed)
    if options.out is None and not options.keep and versions(folder):
        tell(f"The models before it, in {folder / VERSIONS}, still hold their examples: delete that to give it away")
    if options.out is None:
        tell(f"To go back: {own.proposed('adapt', folder, '--undo')}")
    tell(next_predict(changed, place, options.more, options.task))
    return 0


def _changed(model: Model, options: Any) -> Model:
    if options.without:
        model = model.without(options.without, if_worse=options.if_worse)
    if options.more is not None:
        further = support_set(model.spec, Path(local(options.more)), options.task, records_at)
        model = model.more(further.items, further.labels, options.broken, options.if_worse)
    return model if options.keep else model.sealed()


def _undone(folder: Path) -> int:
    with alone(folder):
        model = open_model(undo(folder), "cpu")
        left = len(versions(folder))
    tell(f"{learned(model)}, as before the last change: {folder}")
    tell(f"Versions before it: {left}")
    return 0

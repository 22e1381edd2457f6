"""How far models of a run can be believed: fitted over its validation tasks once, stored beside it, held to tests."""

from __future__ import annotations

import logging
from typing import Any, TypedDict

from quickstudy.errors import DataError, RunError
from quickstudy.runs.trained import Trained
from quickstudy.storage.json import read_json, write_json
from quickstudy.targets.base import Target
from quickstudy.tasks.base import Sampling
from quickstudy.training.progress import Progress
from quickstudy.trust.base import Trust
from quickstudy.trust.checked import TASKS as CHECKED
from quickstudy.trust.checked import AnyChecked, checked
from quickstudy.trust.fit import TASKS, fit_trust

_NAME = "trust.json"
_log = logging.getLogger("quickstudy")


class _Stored(TypedDict):
    """of: what the kept model was when it was fitted."""

    of: dict[str, Any]
    trust: dict[str, Any]


def _of(run: Trained) -> dict[str, Any]:
    return {name: run.kept.get(name) for name in ("step", "kept_at", "validation")}


def stored(run: Trained) -> Trust | None:
    """What is stored of the model that the run keeps now; None where nothing is."""
    path = run.folder / _NAME
    if not path.exists():
        return None
    found = read_json(path, _Stored)
    return Trust.from_json(found["trust"], str(path)) if found["of"] == _of(run) else None


def unfitted(target: Target) -> str:
    """Why models of a run whose tasks are not of classes have no trust."""
    if target.promises == "nothing":
        return f"that is told where tasks are of classes, numbers or masks, and these are of {target}."
    return "nothing was fitted over validation tasks yet. Fit it, run.fit_trust(), and adapt anew."


def fitted(run: Trained, tasks: int | None = None, quiet: bool = True) -> Trust:
    """Fitted over so many validation tasks, and stored, if the folder can be written to.

    DataError for a run that was never validated on classes of its own: what lies today where its tasks did is no
    validation of it.
    """
    config = run.config
    if not run.kept.get("held_out", True):
        raise DataError(
            "No classes were held out for validation when the run was made, so nothing tells how far answers about new "
            "ones can be believed. Train one that holds some out (most sources: --tasks.val 0.2)."
        )
    own = Sampling(config.ways, config.shots, config.queries)
    try:
        source, engine = run.sampled(own)
    except DataError as error:
        raise DataError(
            "That is told by validation tasks of the run, which are not at hand, and nothing is stored of them: "
            f"{error}"
        ) from error
    with Progress(f"How far answers of {config.name} can be believed", tasks or TASKS, quiet=quiet) as progress:
        trust = fit_trust(engine, run.params, source, own, config.seed, tasks, progress.update)
    try:
        write_json(run.folder / _NAME, {"of": _of(run), "trust": trust.to_json()})
    except RunError as error:
        _log.warning("How far to believe models of this run is fitted each time, as it cannot be stored. %s", error)
    return trust


def held(run: Trained, trust: Trust, own: Sampling, tasks: int | None, seed: int | None, quiet: bool) -> AnyChecked:
    """Trust against the truth of test tasks, see `Run.check_trust`."""
    source, engine = run.sampled(own)
    source = source if seed is None else source.seeded(seed)
    with Progress(f"Holding {run.config.name} to what it promises", tasks or CHECKED, quiet=quiet) as progress:
        return checked(engine, run.params, source, trust, own, tasks, on_progress=progress.update)

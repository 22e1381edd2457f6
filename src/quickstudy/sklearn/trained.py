"""The run behind an estimator: by name, by folder, or as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.model import Model
from quickstudy.engine import place, resolve_device
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, DataError, ModelError, RunError
from quickstudy.formats.base import Format
from quickstudy.learners import Learner
from quickstudy.registry import models
from quickstudy.runs.run import Run
from quickstudy.shipped.places import folder_of
from quickstudy.shipped.tables import Tables

_RUNS = Path("runs")
TABLES, NUMBERS = "tables", "tables-numbers"
"""One name for two runs: the first tells classes, the second numbers."""


class InputError(DataError, ValueError):
    """What cannot be learned or answered, as scikit-learn wants it: a ValueError."""


@contextmanager
def as_value_errors() -> Iterator[None]:
    """Within it, what quickstudy refuses of data is a ValueError, which scikit-learn's tools expect."""
    try:
        yield
    except ValueError:
        raise
    except (DataError, ModelError) as error:
        raise InputError(str(error)) from error


@dataclass(frozen=True)
class Trained:
    """A run that is ready to learn tasks. params: φ in double precision, so that an answer for a row does not depend,
    but for the 15th digit, on which other rows are asked about."""

    run: Run
    params: Params

    @property
    def learner(self) -> Learner:
        return self.run.learner

    @property
    def format(self) -> Format:
        return self.learner.spec.format

    @property
    def limit(self) -> int | None:
        """The most classes of a task; None where there may be any number."""
        limit: int | None = getattr(self.learner, "limit", None)
        return limit

    @property
    def widest(self) -> int | None:
        """The most columns of a table; None where there may be any number."""
        wider = models.traits(self.run.config.model.name).wider
        return None if wider else next(iter(self.format.layout.values())).shape[0]

    def adapt(self, format: Format, records: Any, labels: Any) -> Model:
        """The model of records, or of what `format` has stored."""
        built = self.learner.spec
        learner = self.learner if format == built.format else self.learner.at(replace(built, format=format))
        given = Given(records=records, labels=labels)
        model = adapt(self.run.config, learner, self.params, given, {"run": str(self.run.folder)})
        return replace(model, built=built)


def trained(run: Any, device: str | None = None, numbers: bool = False) -> Trained:
    """The run of that name, of that folder, or that is given itself, on a device (its own if not said).

    numbers: 'tables' means the run that tells numbers. Raises RunError, with what to do, where there is none.
    """
    if isinstance(run, Run):
        return _ready(run.numbers if numbers and isinstance(run, Tables) else run, device)
    if not isinstance(run, str | Path):
        raise ConfigError(
            f"run is the name of a trained model, the folder of a run, or a Run; found {type(run).__name__}."
        )
    folder = found(NUMBERS if numbers and run == TABLES else str(run))
    file = folder / "model.safetensors"
    return _kept(folder, device, (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else None)


def found(name: str) -> Path:
    """The folder of a run: a path, a name under runs/, or that of one which comes with the package."""
    for folder in (Path(name), _RUNS / name, folder_of(name)):
        if (folder / "config.json").exists():
            return folder.resolve()
    raise RunError(
        f"There is no run {name!r:.80}: neither as a folder, nor under {_RUNS}/, nor in the package. Train one "
        "(quickstudy train tables), or give the folder of one, or a quickstudy.Run: run=…."
    )


@lru_cache(maxsize=4)
def _kept(folder: Path, device: str | None, stamp: tuple[int, int] | None) -> Trained:
    return _ready(Run(folder), device)


def _ready(run: Run, device: str | None) -> Trained:
    on = resolve_device(device or run.config.device)
    exact = on.type != "mps"  # which has no double precision
    params = {name: _double(value) if exact else value for name, value in run.params.items()}
    return Trained(run, place(params, on, run.learner.inner_loop))


def _double(value: Tensor) -> Tensor:
    return value.to(torch.float64) if value.is_floating_point() else value

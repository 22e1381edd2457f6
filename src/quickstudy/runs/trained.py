"""What a training has left in its folder: config, the kept φ, metrics, and what can be built of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from quickstudy.engine import Engine, place, resolve_device
from quickstudy.entries import prefixed
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, DataError, RunError, unknown_name
from quickstudy.learners import IterativeLearner, Learner
from quickstudy.learners.ordinary import as_module
from quickstudy.runs.card import Card, read_card
from quickstudy.runs.kept import is_kept, read_kept
from quickstudy.spec import TaskSpec
from quickstudy.storage.json import read_json
from quickstudy.tasks.base import Sampling, Source
from quickstudy.training import splits
from quickstudy.training.build import Parts, build, calibrated, initial_params
from quickstudy.training.config import RunConfig
from quickstudy.training.learner import restored_learner
from quickstudy.training.metrics import read_metrics


class Trained:
    """The part of a `Run` that is read, and built, of its folder.

    folder: its files. module, source: given where they were the user's own and cannot be built from the config.
    """

    def __init__(
        self,
        folder: str | Path,
        module: nn.Module | None = None,
        source: Source | None = None,
        device: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        if not (self.folder / "config.json").exists():
            raise RunError(
                f"{self.folder} is not a run: it has no config.json. `quickstudy list runs` shows the runs here."
            )
        config = RunConfig.from_json(read_json(self.folder / "config.json"))
        self.config = replace(config, device=device) if device else config
        self._module, self._source = module, source

    def __getstate__(self) -> dict[str, Any]:
        """What it was made from: copies, also in other processes, read the folder anew."""
        read = {name for name in vars(self) if isinstance(getattr(type(self), name, None), cached_property)}
        return {name: value for name, value in vars(self).items() if name not in read}

    @cached_property
    def parts(self) -> Parts:
        """Source, network and engine. Raises DataError if classes that are held out today were trained on."""
        parts = build(self.config, self._module, self._source, stored=True)
        splits.check(self.folder, parts.source)
        return parts

    @cached_property
    def _kept(self) -> tuple[Params, dict[str, Any]]:
        return read_kept(self.folder)

    @cached_property
    def spec(self) -> TaskSpec:
        """What the tasks are that the run was trained for."""
        return TaskSpec.from_json(self.kept["spec"])

    @cached_property
    def learner(self) -> Learner:
        """The learner, built from what the run has stored: learning a new task needs no training data."""
        return restored_learner(self.config, self.spec, self._kept[0], self._module)

    @cached_property
    def params(self) -> Params:
        """The kept φ, calibrated, on the run's device: of the best validation, or the last if none is held out."""
        return place(self._kept[0], resolve_device(self.config.device), self.learner.inner_loop)

    @property
    def kept(self) -> dict[str, Any]:
        """When the kept model was validated, with what result, and the code and machine that trained it."""
        return self._kept[1]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return read_metrics(self.folder)

    @property
    def seconds(self) -> float | None:
        """How long training took; None where its metrics are gone."""
        lines = self.metrics
        return float(lines[-1]["seconds"]) if lines else None

    @property
    def card(self) -> Card | None:
        """What is told of the run where it is given on: data, licence, figures, limits; None where nothing is."""
        return read_card(self.folder)

    def module(self, name: str = "") -> nn.Module:
        """The network as an ordinary module with the trained weights and statistics, on the CPU, in `eval()` mode.

        name: of a second network that the learner has, such as 'relation'; ConfigError for one that it has not.

        >>> encoder = run.module()  # doctest: +SKIP
        >>> torch.save(encoder.state_dict(), "encoder.pt")  # doctest: +SKIP
        """
        networks = {prefix.rstrip("."): network for prefix, network in self.learner.networks.items()}
        if name not in networks:
            raise unknown_name("network of this run", name, [n for n in networks if n])
        own = prefixed(f"{name}.", self.params) if name else self.params
        return as_module(networks[name], {name: value.cpu() for name, value in own.items()}).eval()

    def untrained(self) -> Params:
        """φ as it was before the first step, calibrated: what training must beat."""
        return calibrated(self.parts, self.config, initial_params(self.parts, self.config))

    def sampled(
        self, sampling: Sampling, steps: int | None = None, learner: Learner | None = None
    ) -> tuple[Source, Engine]:
        """Source and engine for tasks of another size, another number of inner steps, or another learner.

        Raises DataError if what records become is not what the run was trained on.
        """
        if sampling.shots < 1:
            raise ConfigError(f"shots must be at least 1 to learn a task from, found {sampling.shots}.")
        if is_kept(self.folder):
            now, then = self.parts.source.spec, self.spec
            if now.format != then.format or not now.target.fits(then.target):
                raise DataError(
                    f"The tasks are {now} today, but the run {self.folder} was trained on {then}, and they differ in "
                    "their settings. Give it the data, the tokenizer or the tokens that it was trained with."
                )
        source = self.parts.source.sampled(sampling)
        learner = (learner or self.parts.engine.learner).at(source.spec)
        if steps is not None:
            if not isinstance(learner, IterativeLearner):
                raise ConfigError(
                    f"The learner {self.config.learner.name!r} does not adapt in steps: leave --steps out."
                )
            learner = learner.with_steps(steps)
        return source, replace(self.parts.engine, learner=learner)

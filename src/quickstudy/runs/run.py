"""A run: what a training has left, and what is done with it: tasks are evaluated and learned."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.domain import Shift
from quickstudy.deploy.export.export import To, export
from quickstudy.deploy.export.subject import Subject
from quickstudy.deploy.model import Model
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, QuickstudyError
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.evaluation.result import Result
from quickstudy.formats.records import Broken
from quickstudy.learners import Learner
from quickstudy.pages.notebook import card, lines
from quickstudy.runs import believed, sharing
from quickstudy.runs.told import told
from quickstudy.runs.trained import Trained
from quickstudy.tasks.base import Sampling
from quickstudy.training.progress import Progress
from quickstudy.trust.base import Trust
from quickstudy.trust.checked import AnyChecked
from quickstudy.version import __version__

_log = logging.getLogger("quickstudy")


class Run(Trained):
    """A finished (or stopped) training, from which tasks are evaluated and learned.

    folder: its files. module, source: given where they were the user's own and cannot be built from the config.
    """

    _doubt = ""  # why there is no trust, as it was last said

    def __repr__(self) -> str:
        return lines(f"Run {self.config.name}", self.told())

    def _repr_html_(self) -> str:
        return card(f"Run {self.config.name}", self.told())

    def told(self) -> list[tuple[str, str]]:
        """What it is for people: lines of a name and what it is; of the files alone, not of the tasks' data."""
        return told(self)

    @cached_property
    def trust(self) -> Trust:
        """How far models of this run can be believed, fitted over validation tasks when it is first asked for.

        It is then stored in the run's folder, as trust.json, and read from there, for as long as the kept model is the
        one it was fitted to. ConfigError or DataError, which says why, where nothing tells.
        """
        return self.fit_trust(again=False)

    def fit_trust(self, tasks: int | None = None, again: bool = True, quiet: bool = True) -> Trust:
        """`trust`, fitted over so many validation tasks and stored. again: also where it is stored already."""
        found = None if again else believed.stored(self)
        self.__dict__["trust"] = trust = believed.fitted(self, tasks, quiet) if found is None else found
        return trust

    def believed(self, quiet: bool = True, fit: bool | None = None) -> tuple[Trust | None, str]:
        """`trust`, or None and why there is none, which is logged, once, where tasks are of classes.

        fit: whether it is fitted where it is not stored; if not given, where tasks are of classes.
        """
        target = self.spec.target
        if not (target.calibrates if fit is None else fit) and not self._is_trusted:
            found = believed.stored(self)
            return found, "" if found is not None else believed.unfitted(target)
        try:
            return self._trusted(quiet), ""
        except QuickstudyError as error:
            if target.calibrates and str(error) != self._doubt:
                _log.info("Models of this run cannot tell how far their answers can be believed. %s", error)
            self._doubt = str(error)
            return None, str(error)

    @property
    def _is_trusted(self) -> bool:
        """Whether `trust` was asked for before."""
        return "trust" in self.__dict__

    def _trusted(self, quiet: bool) -> Trust:
        """`trust`, which is fitted with a progress bar unless `quiet`."""
        return self.trust if self._is_trusted else self.fit_trust(again=False, quiet=quiet)

    def save_pretrained(self, folder: str | Path, **about: Any) -> Path:
        """Write all that others need to use this run, and a card, into `folder`: safetensors and JSON, no pickle.

        about: of the card, what nobody can know but you: `summary`, `licence` (an identifier, such as 'MIT'), `data` (a
        list of {'name': …, 'licence': …}), `limits` (a list of sentences), `figures`. Folders of this machine are not
        told. `Run(folder)` and `quickstudy.from_hub(folder)` read it.
        """
        return sharing.save(self, Path(folder), about)

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None, **about: Any) -> str:
        """Put what `save_pretrained` writes on the Hugging Face hub, as OWNER/NAME; the address of the commit there.

        Extra 'hub'. token: that may write there, if you are not logged in (hf auth login). RunError where it fails.
        """
        return sharing.push(self, name, about, private, token)

    def check_trust(
        self,
        *,
        ways: int | None = None,
        shots: int | None = None,
        tasks: int | None = None,
        seed: int | None = None,
        quiet: bool = True,
    ) -> AnyChecked:
        """Hold `trust` against the truth of test tasks, 200 if not given, or 60 where the learner takes steps.

        Each has about 300 queries of its classes, where there are so many, and others of classes that were not shown;
        of numbers, intervals are held against values, and of masks the probabilities of pixels against their classes.
        Sizes not given are the run's own. ConfigError or DataError, which says why, where nothing is promised.

        >>> run.check_trust().held  # the share of tasks whose accuracy lies in its interval  # doctest: +SKIP
        """
        config = self.config
        own = Sampling(config.ways if ways is None else ways, config.shots if shots is None else shots, config.queries)
        return believed.held(self, self._trusted(quiet), own, tasks, seed, quiet)

    def evaluate(
        self,
        *,
        ways: int | None = None,
        shots: int | None = None,
        queries: int | None = None,
        episodes: int = 1000,
        split: str = "test",
        steps: int | None = None,
        seed: int | None = None,
        params: Params | None = None,
        learner: Learner | None = None,
        compare_supports: bool = True,
        quiet: bool = True,
    ) -> Result:
        """Adapt to `episodes` tasks of `split` and measure; sizes not given are the run's own.

        params: other φ than the kept one, such as `untrained()`. learner: another than the run's, with the same φ.
        compare_supports: also find out whether the learner uses its support sets, as `Result.support`; costs as much as
        three times 64 tasks at most.
        """
        config = self.config
        size = Sampling(
            config.ways if ways is None else ways,
            config.shots if shots is None else shots,
            config.queries if queries is None else queries,
        )
        source, engine = self.sampled(size, steps, learner)
        source = source if seed is None else source.seeded(seed)
        with Progress(f"Evaluating {config.name} on {split} tasks", episodes, quiet=quiet) as progress:
            chosen = self.params if params is None else params
            return evaluate(engine, chosen, source, split, episodes, progress.update, compare_supports=compare_supports)

    def export(self, folder: str | Path, to: To = "onnx", adapt: bool = False, wasm: str | Path | None = None) -> Path:
        """What learns new tasks, as a graph for programs without quickstudy: see `Model.export`. A run has no answers
        of its own, so that `adapt` must be True, or the form be 'web'."""
        trust, why = self.believed()
        name = self.config.name or self.config.learner.name
        subject = Subject.start(self.config, self.learner, self.params, trust, why, name)
        return export(subject, Path(folder), to, adapt, None if wasm is None else Path(wasm))

    def adapt(
        self,
        records: Any = None,
        labels: Any = None,
        broken: Broken = "refuse",
        *,
        unlabelled: Any = None,
        shift: Shift = "none",
        shift_steps: int = 10,
        classes: Sequence[str] = (),
        template: str = "{}",
        episodes: int | None = None,
        trust: bool = True,
        keep: bool = True,
        **columns: Any,
    ) -> Model:
        """Learn a new task from support records and their labels; one way for every kind of data.

        records: what the run's format takes: image files, arrays, rows of a table (or a data frame), or the seen values
        of a time series, which is its own labels. labels: a class name, a number, a text or a mask for each; a folder
        of images and masks has both. broken: whether a file that cannot be read stops everything, or is left out
        ('skip'). unlabelled: further records that nobody has labelled, for a learner that uses them (semi-protonet), or
        as inputs of a new domain that φ is to follow: by its 'statistics', or also by the 'entropy' of what it says of
        them, in `shift_steps` steps. Such a model is `transductive`. classes: names that are examples of their classes
        themselves, each put into the `template`, for texts: with an encoder that knows what words mean, no other
        example is needed. episodes: for agents, of the environment that they are given as records, a
        `quickstudy.rl.Environment`, an id of Gymnasium or a Python file; the run's shots if not given. trust: carry how
        far answers can be believed, where classes are held out for validation, see `Run.trust`. keep: whether the model
        keeps the examples, in its file, so that further ones can follow (`Model.more`). columns: of rows, what
        `Format.told` takes, such as `exclude=("id",)`, or `text="question"` of texts; with `label="price"` and no
        labels, they are that column of a file or data frame.

        >>> model = run.adapt("train.csv", label="price", exclude=("id",))  # doctest: +SKIP
        """
        if records is None and not classes:
            raise ConfigError("There is nothing to learn from. Give records and labels, or names of classes.")
        learner = self.learner
        if columns:
            learner = learner.at(replace(learner.spec, format=learner.spec.format.told(**columns)))
        if labels is None and "label" in columns:
            found = learner.spec.find(records)
            records, labels = found.items, found.labels
        provenance = {
            "run": str(self.folder),
            "adapted_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "trained_at_commit": self.kept.get("commit", ""),
            "version": __version__,
        }
        given = Given(
            records=records, labels=labels, broken=broken, unlabelled=unlabelled, shift=shift, shift_steps=shift_steps,
            classes=classes, template=template, episodes=episodes, keep=keep,
        )  # fmt: skip
        believed, why = self.believed() if trust else (None, "it was made without (trust=False).")
        if believed is None:
            provenance["no trust"] = why
        return adapt(self.config, learner, self.params, given, provenance, believed)

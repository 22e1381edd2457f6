"""What models are made from: a run, an adapted model, or a bank of solved tasks, by the name that clients give."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any
from unicodedata import normalize

from quickstudy.deploy.adapt import Given, adapt
from quickstudy.deploy.model import Model
from quickstudy.deploy.store import NAME
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.base import Format
from quickstudy.formats.records import Records
from quickstudy.learners import Learner
from quickstudy.memory.bank import Bank, is_bank
from quickstudy.memory.memory import Memory
from quickstudy.memory.runs import adapted, memory_of_bank
from quickstudy.runs.run import Run
from quickstudy.serve.record import Event
from quickstudy.serve.refusal import Refused
from quickstudy.serve.study import adding
from quickstudy.shipped import places, pretrained
from quickstudy.spec import TaskSpec
from quickstudy.storage.folders import RUNS, take
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.tensors import checksum, pack

_LONGEST = 100  # characters of a label


class Start(ABC):
    """One of them. name: what clients call it. spec: what goes in and comes out. learner: built for it. params: φ.

    learns: whether models can be made from it. keeps: whether models that were made are kept, since they could not be
    made again alike. asked: what is asked as it is, where it has learned a task already. by_labels: whether numbers as
    labels say that numbers are to be told.
    """

    learns = True
    keeps = False
    by_labels = False
    asked: Model | None = None

    def __init__(self, name: str, spec: TaskSpec, learner: Learner, params: Params) -> None:
        self.name, self.spec, self.learner, self.params = name, spec, learner, params

    @cached_property
    def print(self) -> str:
        """By which a model knows that this is what it was made from: a checksum of φ and of what it takes."""
        return checksum(pack(self.params), repr(self.spec.to_json()))[:32]

    @abstractmethod
    def adapt(self, records: Any, labels: Any) -> Model:
        """The model of these examples. Raises what `Run.adapt` raises."""

    def kept(self, folder: Path, version: str, records: Any, labels: Any) -> Model:
        """`adapt`, or the same as it was done before; `folder` is the model's own."""
        return self.adapt(records, labels)

    def forgotten(self, folder: Path) -> None:
        """Take what was kept of a model from `folder`, and from wherever else it is."""
        for one in folder.iterdir():
            shutil.rmtree(one, ignore_errors=True)

    def first(self) -> Event | None:
        """The event that gives a new model the examples that it starts with."""
        return None

    @property
    def format(self) -> Format:
        return self.spec.format

    @property
    def as_sent(self) -> bool:
        """Whether examples are kept as they were sent, and not as compact tensors: where what these are depends on all
        examples of the task, or where they are texts, which are shorter."""
        return self.format.medium not in ("image", "sound")

    def label(self, label: Any) -> Any:
        """A label as it is kept; DataError for one that is none."""
        if isinstance(label, str):
            label = normalize("NFC", label).strip()
            if not label or len(label) > _LONGEST or not label.isprintable():
                raise DataError(
                    f"A label is a name of 1 to {_LONGEST} characters that can be seen, found {label!r:.60}. Choose "
                    "another."
                )
            return label
        if isinstance(label, bool) or not isinstance(label, int | float) or not abs(label) < 1e300:
            raise DataError(f"A label is a text or a number, found {label!r:.60}. Give one for each record.")
        return str(label) if self.spec.target.relabels and not self.by_labels else label

    def about(self) -> dict[str, Any]:
        """What a page must know of it."""
        told = {one.name: getattr(self.format, one.name) for one in fields(self.format)}  # type: ignore[arg-type]
        plain = {name: one for name, one in told.items() if isinstance(one, str | int | float | bool)}
        return {
            "name": self.name,
            "format": {"kind": self.format.medium, "what": str(self.format), **plain},
            "target": "classes" if self.spec.target.relabels else "numbers",
            "learns": self.learns,
        }


class OfRun(Start):
    """Starts of a run: each model is adapted from its φ."""

    def __init__(self, name: str, run: Run) -> None:
        super().__init__(name, run.spec, run.learner, run.params)
        self.run, self.by_labels = run, name == places.TABLES
        run.believed()

    def adapt(self, records: Any, labels: Any) -> Model:
        return self.run.adapt(records, labels)


class OfModel(Start):
    """Starts of a model that knows a task: it is asked as it is, and copies of it grow, if it has kept its examples."""

    def __init__(self, name: str, model: Model) -> None:
        built = model.built or model.spec
        super().__init__(name, built, model.learner.at(built), model.params)
        self.asked = self._model = model
        self.learns = model.kept is not None and not self.format.labels_itself

    def adapt(self, records: Any, labels: Any) -> Model:
        model = self._model
        told = {name: one for name, one in model.provenance.items() if name not in ("history", "no trust")}
        trust = None if model.trust is None else model.trust.trust
        given = Given(records=records, labels=labels)
        return adapt(model.config, self.learner, self.params, given, told, trust)

    def first(self) -> Event | None:
        kept, format = self._model.kept, self._model.spec.format
        if kept is None or not self.learns:
            raise Refused(
                409, "cannot_grow", f"{self.name} has not kept its examples: it can be asked, but cannot grow."
            )
        labels = self._model.spec.target.decoded(kept.y, self._model.names)
        if not self.as_sent:
            return adding(labels, None, kept.x, first=True)
        rows = format.raw(kept.x)
        return adding(labels, format.sent(kept.x) if rows is None else rows, None, first=True)


class OfBank(Start):
    """Starts of a bank of solved tasks: each model starts from what is near in it, and is put into it.

    What a bank brings depends on all that it holds, so that a model that was made of it is kept, for all processes.
    """

    def __init__(self, name: str, memory: Memory) -> None:
        super().__init__(name, memory.learner.spec, memory.learner, memory.params)
        self.memory = memory

    keeps = True

    def adapt(self, records: Any, labels: Any) -> Model:
        return adapted(self.memory, Records(records, [""] * len(labels), labels))[1]

    def kept(self, folder: Path, version: str, records: Any, labels: Any) -> Model:
        """The model of these examples, from `folder`; or made now, put there and into the bank, in the place of other
        versions of it. One process makes it, and all others wait."""
        place = folder / version
        with take(folder, wait=True):
            if (place / NAME).exists():
                return Model.load(place, device="cpu")
            self.forgotten(folder)
            given = Records(records, [""] * len(labels), labels)
            solved, model = adapted(self.memory, given, remember=True, name=folder.stem)
            write_json(folder / f"{version}.json", {"entry": solved.id})
            model.save(place)
        return model

    def forgotten(self, folder: Path) -> None:
        """Take what was made in `folder` from there, and from the bank."""
        for told in folder.glob("*.json"):
            entry = read_json(told).get("entry")
            self.memory.bank.remove([entry] if entry else [])
            told.unlink()
        super().forgotten(folder)


def opened(word: str) -> Start:
    """What a word of the command line names: a folder of a run, of an adapted model or of a bank, a run's name under
    runs/, or a model of the package. ConfigError for what is none, or cannot be served."""
    path = Path(word)
    name = path.resolve().name if path.exists() else word
    start: Start
    if (path / "config.json").exists():
        start = OfRun(name, Run(path, device="cpu"))
    elif (path / NAME).exists():
        start = OfModel(name, Model.load(path, device="cpu"))
    elif is_bank(path):
        start = OfBank(name, memory_of_bank(Bank(path, create=False), device="cpu"))
    elif (RUNS / word / "config.json").exists():
        start = OfRun(name, Run(RUNS / word, device="cpu"))
    elif word in (*places.names(), places.PHOTOS):
        start = OfRun(name, pretrained(word, device="cpu"))
    else:
        raise ConfigError(
            f"There is nothing to serve called {word!r:.80}: no folder of a run, of an adapted model or of a bank, and "
            f"no model of the package. The package has {', '.join(places.names())}."
        )
    target = start.spec.target
    if target.grid or not (target.relabels or target.density) or target.outputs > 1 > target.ways:
        raise ConfigError(f"{word} tells {target}, which is not served: classes, numbers and forecasts are.")
    return start


def all_opened(words: Sequence[str]) -> dict[str, Start]:
    """Of several, by their names. ConfigError where two are called alike."""
    found: dict[str, Start] = {}
    for word in words:
        start = opened(word)
        if start.name in found:
            raise ConfigError(f"Two of what is to be served are called {start.name!r}. Rename one of the folders.")
        found[start.name] = start
    return found

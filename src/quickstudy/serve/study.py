"""What has been told to one model: the events of its file, put together."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.episode import Features, named, of_names
from quickstudy.errors import CheckpointError
from quickstudy.serve.record import Event, events
from quickstudy.serve.refusal import Refused, not_found

_UNDOS = 50


class Example(NamedTuple):
    """One example. raw: a text, row or numbers as they were sent; or a `row` of tensors, of files."""

    id: str
    label: Any
    raw: Any
    tensors: Mapping[str, Tensor]
    row: int

    def x(self) -> Features:
        """Compact tensors (1, …)."""
        return of_names({name: value[self.row : self.row + 1] for name, value in self.tensors.items()})


@dataclass(frozen=True)
class Study:
    """facts: which start, name and print, as they were at first. ever: the examples that there were, by id. live: which
    of them count, in order. past: of them, before each change that can be undone. size: bytes of the file."""

    facts: Mapping[str, Any]
    ever: Mapping[str, Example]
    live: tuple[str, ...] = ()
    past: tuple[tuple[str, ...], ...] = ()
    size: int = 0

    @classmethod
    def of(cls, data: bytes) -> Study:
        """What a file says. CheckpointError for one that says nothing."""
        for event, end in events(data):
            if event.facts.get("do") != "begin":
                break
            return replace(cls(event.facts, {}), size=end).followed(data, 0)
        raise CheckpointError("The file of this model is damaged. Restore it from a copy, or delete the model.")

    def followed(self, data: bytes, offset: int) -> Study:
        """After what a file says from `offset` on, of which all before `size` is known."""
        study = self
        for event, end in events(data, self.size - offset):
            study = replace(study.after(event), size=end + offset)
        return study.pruned()

    def pruned(self) -> Study:
        """Without the examples that no undoing brings back."""
        wanted = set(self.live).union(*self.past)
        if len(wanted) == len(self.ever):
            return self
        return replace(self, ever={id: one for id, one in self.ever.items() if id in wanted})

    def after(self, event: Event) -> Study:
        """After one more event."""
        facts, kind = event.facts, event.facts.get("do")
        if kind == "add":
            raw = facts.get("raw") or [None] * len(facts["ids"])
            new = {
                id: Example(id, label, one, event.tensors, row)
                for row, (id, label, one) in enumerate(zip(facts["ids"], facts["labels"], raw, strict=True))
            }
            if facts.get("first"):
                return replace(self, ever={**self.ever, **new}, live=(*self.live, *new))
            return self._changed((*self.live, *new), {**self.ever, **new})
        if kind == "forget":
            gone = set(facts["ids"])
            return self._changed(tuple(id for id in self.live if id not in gone), self.ever)
        if kind == "rename":  # under new ids, so that undoing brings the old names back
            now = dict(zip(facts["ids"], facts["new"], strict=True))
            new = {now[id]: self.ever[id]._replace(id=now[id], label=facts["label"]) for id in facts["ids"]}
            return self._changed(tuple(now.get(id, id) for id in self.live), {**self.ever, **new})
        if kind == "undo" and self.past:
            return replace(self, live=self.past[-1], past=self.past[:-1])
        raise CheckpointError(
            f"The file of this model holds an event {kind!r:.40}, of a newer quickstudy or of none. "
            "Upgrade, or restore it from a copy."
        )

    def _changed(self, live: tuple[str, ...], ever: Mapping[str, Example]) -> Study:
        return replace(self, ever=ever, live=live, past=(*self.past, self.live)[-_UNDOS:])

    @property
    def examples(self) -> list[Example]:
        return [self.ever[id] for id in self.live]

    @property
    def names(self) -> list[str]:
        """The classes, as they are called, sorted."""
        return sorted({str(self.ever[id].label) for id in self.live if self.ever[id].label is not None})

    def example(self, id: str) -> Example:
        if id not in self.live:
            raise not_found("example")
        return self.ever[id]

    def forgetting(self, ids: Sequence[str]) -> Event:
        for id in ids:
            self.example(id)
        return Event({"do": "forget", "ids": list(ids)})

    def without(self, name: str) -> Event:
        """The event that forgets a class."""
        ids = [one.id for one in self.examples if str(one.label) == name]
        if not ids:
            raise not_found("class")
        return Event({"do": "forget", "ids": ids})

    def renaming(self, name: str, label: str) -> Event:
        """The event that gives a class another name."""
        ids = self.without(name).facts["ids"]
        if label in self.names:
            raise Refused(409, "name_taken", f"There is a class {label!r:.60} already. Choose another name.")
        return Event({"do": "rename", "ids": ids, "new": [secrets.token_hex(6) for _ in ids], "label": label})

    def undoing(self) -> Event:
        if not self.past:
            raise Refused(409, "nothing_to_undo", "There is nothing to undo: the model is as it was at first.")
        return Event({"do": "undo"})


def adding(labels: Sequence[Any], raw: Sequence[Any] | None, x: Features | None, first: bool = False) -> Event:
    """The event that adds examples, as they were sent or as compact tensors (n, …)."""
    ids = [secrets.token_hex(6) for _ in labels]
    told = {"do": "add", "ids": ids, "labels": list(labels)} | ({"first": True} if first else {})
    return Event(told | ({} if raw is None else {"raw": list(raw)}), {} if x is None else dict(named(x)))


def stacked(examples: Sequence[Example]) -> Features:
    """Compact tensors (n, …) of examples that were files."""
    first, rows = examples[0].tensors, [(example.tensors, example.row) for example in examples]
    return of_names({name: torch.stack([tensors[name][row] for tensors, row in rows]) for name in first})

"""All models that are kept: their files, and those of them that this process holds in memory."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from quickstudy.deploy.model import Model
from quickstudy.errors import CheckpointError, RunError
from quickstudy.files import synced
from quickstudy.serve.limits import Limits
from quickstudy.serve.record import Event, Held, events, written
from quickstudy.serve.refusal import Refused, not_found
from quickstudy.serve.starts import Start
from quickstudy.serve.study import Study

_log = logging.getLogger("quickstudy")
OPEN = "open"
"""The owner of all models where there are no tokens."""
_SUFFIX = ".study"
_ID = re.compile("[0-9a-f]{24}")
_HEAD = 4096  # bytes in which the first event lies
_UNFINISHED = 3600  # seconds


@dataclass(eq=False)
class Live:
    """One model as it is in memory. study: what was told to it. model: what has learned it, once it was asked."""

    id: str
    start: Start
    study: Study
    model: Model | None = None
    estimate: dict[str, Any] | None = field(default=None, repr=False)
    folder: Path | None = None
    """Of what was made of it, where such is kept."""
    refuses: bool = True
    """Whether inputs of no class are told; looked at when it is first asked."""


class Books:
    """The models of one folder. Several processes may have it open: what one has written, the others see."""

    def __init__(self, folder: Path, starts: Mapping[str, Start], limits: Limits) -> None:
        self.folder, self.starts, self.limits = folder, starts, limits
        self._held: OrderedDict[tuple[str, str], Live] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._held)

    def path(self, owner: str, id: str) -> Path:
        """The file of a model. 404 for what is no id of ours: nothing that a client says is a path."""
        if not _ID.fullmatch(id):
            raise not_found("model")
        return self.folder / owner / f"{id}{_SUFFIX}"

    def current(self, owner: str, id: str) -> Live:
        """A model as it is on the disk now; what is in memory, where nothing has changed."""
        if (start := self.starts.get(id)) is not None and start.asked is not None:
            return self.as_it_is(start)
        path, known = self.path(owner, id), self.held(owner, id)
        try:
            size = os.stat(path).st_size
            if known is not None and known.study.size == size:
                return known
            offset = 0 if known is None else known.study.size
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            self.forget(owner, id)
            raise not_found("model") from None
        study = Study.of(data) if known is None else known.study.followed(data, offset)
        if known is not None and study.size == known.study.size:
            return known  # what is longer is no event yet, or was cut off
        return self.hold(owner, self._live(owner, id, study))

    def as_it_is(self, start: Start) -> Live:
        """A model of the command line, which nobody can change."""
        with self._lock:
            live = self._held.get(("", start.name))
            if live is None:
                facts = {"start": start.name, "name": start.name, "made": ""}
                live = self._held[("", start.name)] = Live(start.name, start, Study(facts, {}), start.asked)
        return live

    def caught_up(self, owner: str, id: str, file: Held) -> Live:
        """`current` for whoever holds the file."""
        known = self.held(owner, id)
        study = (
            Study.of(file.read(0))
            if known is None
            else known.study.followed(file.read(known.study.size), known.study.size)
        )
        if known is not None and study.size == known.study.size:
            return known
        return self.hold(owner, self._live(owner, id, study))

    def _live(self, owner: str, id: str, study: Study) -> Live:
        return Live(id, self._start(study), study, folder=self.made(owner, id))

    def made(self, owner: str, id: str) -> Path:
        """The folder of what was made of a model."""
        return self.path(owner, id).with_suffix(".made")

    def _start(self, study: Study) -> Start:
        name = study.facts["start"]
        start = self.starts.get(name)
        if start is None:
            raise Refused(
                409, "start_missing",
                f"This model was made from {name!r}, which the server was not given. Start it with: quickstudy serve "
                f"{name}",
            )  # fmt: skip
        if start.print != study.facts["print"]:
            raise Refused(
                409, "start_changed",
                f"This model was made from another {name!r} than the server has now, whose answers would be others. "
                "Start it with that one, or make the model anew.",
            )  # fmt: skip
        return start

    def held(self, owner: str, id: str) -> Live | None:
        with self._lock:
            live = self._held.get((owner, id))
            if live is not None:
                self._held.move_to_end((owner, id))
            return live

    def hold(self, owner: str, live: Live) -> Live:
        """Keep a model in memory, in the place of those that were not asked for the longest time."""
        with self._lock:
            self._held[(owner, live.id)] = live
            self._held.move_to_end((owner, live.id))
            while len(self._held) > self.limits.held:
                self._held.popitem(last=False)
        return live

    def forget(self, owner: str, id: str) -> None:
        with self._lock:
            self._held.pop((owner, id), None)

    def begin(self, owner: str, start: Start, name: str, more: list[Event]) -> Live:
        """A new model, on the disk."""
        if not start.learns:
            raise Refused(
                409, "cannot_grow", f"{start.name} has not kept its examples: it can be asked, but cannot grow."
            )
        folder = self.folder / owner
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            synced(self.folder)
        if len(self._ids(owner)) >= self.limits.models:
            raise Refused(
                409, "too_many_models", f"There are {self.limits.models} models already, the limit. Delete some first."
            )
        facts = {
            "do": "begin", "start": start.name, "print": start.print, "name": name,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        id = secrets.token_hex(12)
        study = Study(facts, {})
        for event in more:
            study = study.after(event)
        size = written(self.path(owner, id), [Event(facts), *more])
        return self.hold(
            owner, Live(id, start, Study(facts, study.ever, study.live, study.past, size), folder=self.made(owner, id))
        )

    def _ids(self, owner: str) -> list[str]:
        folder = self.folder / owner
        try:
            return [name.removesuffix(_SUFFIX) for name in os.listdir(folder) if name.endswith(_SUFFIX)]
        except FileNotFoundError:
            return []

    def listed(self, owner: str) -> list[dict[str, Any]]:
        """All models of an owner, the newest first; those of the command line before them."""
        told = [
            {"id": s.name, "name": s.name, "start": s.name, "made": "", "fixed": True}
            for s in self.starts.values()
            if s.asked is not None
        ]
        own = []
        for id in self._ids(owner):
            try:
                with self.path(owner, id).open("rb") as file:
                    first = next(events(file.read(_HEAD)), None)
            except FileNotFoundError:
                continue  # deleted meanwhile
            except CheckpointError as error:  # which says what to do, once it is asked for; others are none the worse
                _log.error("%s: %s", self.path(owner, id), error)
                own.append({"id": id, "name": id, "start": "", "made": "", "fixed": False, "damaged": True})
                continue
            if first is not None:
                facts = first[0].facts
                own.append({"id": id, **{k: facts[k] for k in ("name", "start", "made")}, "fixed": False})
        return told + sorted(own, key=lambda one: (one["made"], one["id"]), reverse=True)


def opened(folder: Path) -> Path:
    """The folder of what is kept, made where it is not there yet, its owner's alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob("*/*.new"):
            if (
                time.time() - left.stat().st_mtime > _UNFINISHED
            ):  # of a model that was being made when a server was killed
                left.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"Could not use the folder {folder}: {error.strerror}. Choose another with --store.") from error
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    told = folder / "about.json"
    if not told.exists():
        told.write_text(json.dumps({"what": "models of quickstudy serve", "version": 1}))
    return folder

"""What can be done with models: make them, add, forget, undo, ask, measure, delete. Changes are on the disk first."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from quickstudy.deploy.model import Model
from quickstudy.serve import learn, tell
from quickstudy.serve.bodies import Given, require_few
from quickstudy.serve.books import Books, Live, opened
from quickstudy.serve.limits import Settings
from quickstudy.serve.record import Event, Held, holding
from quickstudy.serve.refusal import Refused, not_found
from quickstudy.serve.starts import Start, all_opened
from quickstudy.serve.study import Study, adding
from quickstudy.serve.work import Work

T = TypeVar("T")
_SPARE = 0.002  # seconds between looks at what another process holds


class Service:
    """Of one process. settings: how the server was started."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.limits = settings, settings.limits
        self.starts = all_opened(settings.starts)
        self._sharing = {start for start in self.starts.values() if learn.shares(start)}
        self.books = Books(opened(Path(settings.store)), self.starts, settings.limits)
        self.work = Work(settings.limits.queue)
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._changing: set[asyncio.Task[Any]] = set()

    @property
    def start(self) -> Start:
        """The one that is meant where none is named."""
        return next(iter(self.starts.values()))

    def start_called(self, name: str | None) -> Start:
        if name is not None and name not in self.starts:
            raise Refused(
                404, "not_found", f"There is no start called {name!r:.60} here. There are {', '.join(self.starts)}."
            )
        return self.start if name is None else self.starts[name]

    # Looking

    async def live(self, owner: str, id: str) -> Live:
        """A model as it is now."""
        known = self.books.held(owner, id)
        if known is not None:
            return self.books.current(owner, id)  # a look at the file's length, most times
        return await asyncio.to_thread(self.books.current, owner, id)

    async def state(self, owner: str, id: str) -> dict[str, Any]:
        return await self._state(await self.live(owner, id))

    async def _state(self, live: Live) -> dict[str, Any]:
        if live.estimate is not None or not learn.learnable(live.start, live.study):
            return tell.state(live)  # nothing is to be computed

        def said() -> dict[str, Any]:
            if live.model is None and learn.learnable(live.start, live.study):
                learn.ready(live)
            return tell.state(live)

        return await self.work.do(said)

    async def listed(self, owner: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self.books.listed, owner)

    async def ask(self, owner: str, id: str, given: Given, options: dict[str, Any]) -> list[dict[str, Any]]:
        """What a model says of records, each by itself; of a series, of each value that follows."""
        live = await self.live(owner, id)
        self._require_some(given, live.start, asked=True)
        require_few(len(given.records), self.limits.records)
        if live.start.format.labels_itself or live.start.learner.transductive:
            return await self.work.do(lambda: learn.asked(live, given.records, options))
        start, how = live.start, tuple(sorted(options.items()))
        if start in self._sharing:
            pairs = [(live, record) for record in given.records]
            return await self.work.ask((start, how), lambda several: learn.together(start, several, options), pairs)
        return await self.work.ask((live, how), lambda records: learn.asked(live, records, options), given.records)

    async def score(self, owner: str, id: str, given: Given) -> dict[str, Any]:
        live = await self.live(owner, id)
        self._require_some(given, live.start, asked=True)
        require_few(len(given.records), self.limits.records)
        labels = self._labels(given, live.start)
        return await self.work.do(lambda: learn.scored(live, given.records, labels))

    # Changing

    async def make(self, owner: str, start: Start, name: str, given: Given) -> dict[str, Any]:
        """A new model, of no example or of these."""
        return await self._shielded(self._made(owner, start, name, given))

    async def _made(self, owner: str, start: Start, name: str, given: Given) -> dict[str, Any]:
        first = start.first()
        adds = self._adding(start, given) if given.records else None

        def learned() -> tuple[list[Event], Model | None, dict[str, Any] | None]:
            more = [event for event in (first, adds() if adds is not None else None) if event is not None]
            study = Study({}, {})
            for event in more:
                study = study.after(event)
            self._require_room(study)
            model = learn.learn(start, study) if learn.learnable(start, study) and not start.keeps else None
            return more, model, None if model is None else tell.estimate(model)

        more, model, estimate = await self.work.do(learned)
        live = await asyncio.to_thread(self.books.begin, owner, start, name, more)
        live.model, live.estimate = model, estimate
        return await self._state(live)

    async def add(self, owner: str, id: str, given: Given) -> dict[str, Any]:
        """Further examples."""
        live = await self.live(owner, id)
        self._require_some(given, live.start)
        event = await self.work.do(self._adding(live.start, given))
        return await self.change(owner, id, lambda _: event)

    async def change(self, owner: str, id: str, event: Callable[[Study], Event]) -> dict[str, Any]:
        """A model after `event` of what it is, which is on the disk before this returns.

        Nothing is written that the model could not learn from. Once begun it is finished, even if nobody waits.
        """
        return await self._shielded(self._changed(owner, id, event))

    async def _changed(self, owner: str, id: str, event: Callable[[Study], Event]) -> dict[str, Any]:
        async with self._alone(owner, id) as file:
            live = await asyncio.to_thread(self.books.caught_up, owner, id, file)
            done = event(live.study)
            study = live.study.after(done).pruned()
            self._require_room(study)
            after = Live(id, live.start, study, folder=live.folder)
            state = await self._state(after)
            size = await asyncio.to_thread(file.add, done, live.study.size)
            after.study = replace(study, size=size)
            self.books.hold(owner, after)
        return state

    async def rename(self, owner: str, id: str, name: str, wanted: Any) -> dict[str, Any]:
        """A class under another name."""
        if not isinstance(wanted, str):
            raise Refused(422, "labels", 'A class is renamed by its new name: {"name": "…"}.')
        label = (await self.live(owner, id)).start.label(wanted)
        return await self.change(owner, id, lambda study: study.renaming(name, label))

    async def delete(self, owner: str, id: str) -> None:
        async def gone() -> None:
            async with self._alone(owner, id) as file:
                await asyncio.to_thread(file.remove)
                self.books.forget(owner, id)
                folder = self.books.made(owner, id)
                if folder.exists():
                    for start in (one for one in self.starts.values() if one.keeps):
                        await asyncio.to_thread(start.forgotten, folder)
                    await asyncio.to_thread(shutil.rmtree, folder)

        await self._shielded(gone())

    @asynccontextmanager
    async def _alone(self, owner: str, id: str) -> AsyncIterator[Held]:
        """The file of a model, held against all other requests and processes; 503 where that takes too long."""
        if id in self.starts:
            raise Refused(
                409,
                "fixed",
                f"{id} is as it was given to the server. Make a model of your own from it, and change that.",
            )
        path, until = self.books.path(owner, id), time.monotonic() + self.limits.time
        lock = self._locks.setdefault((owner, id), asyncio.Lock())
        async with lock:
            while True:
                try:
                    with holding(path) as file:
                        if file is not None:
                            yield file
                            return
                except FileNotFoundError:
                    self.books.forget(owner, id)
                    raise not_found("model") from None
                if time.monotonic() > until:
                    raise Refused(503, "held", "Another process changes this model, and does not end. Try again.", 1)
                await asyncio.sleep(_SPARE)

    async def _shielded(self, change: Coroutine[Any, Any, T]) -> T:
        """Let a change be finished, whatever becomes of who asked for it."""
        task = asyncio.ensure_future(change)
        self._changing.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._changing.discard(task)
        if not task.cancelled():
            task.exception()  # which whoever waits is told

    async def finished(self) -> None:
        """Once all changes that have begun are done."""
        if self._changing:
            await asyncio.wait(list(self._changing))

    # What is given

    def _require_room(self, study: Study) -> None:
        if len(study.live) > self.limits.examples:
            raise Refused(
                413, "too_many_examples",
                f"The model would have {len(study.live)} examples, more than the limit of {self.limits.examples}. "
                "Forget some first.",
            )  # fmt: skip

    def _require_some(self, given: Given, start: Start, asked: bool = False) -> None:
        if not given.records and not (asked and start.format.labels_itself):
            raise Refused(
                422, "no_records", f"No {start.format.what} were sent. Send some: as files of a form, or as records."
            )

    def _labels(self, given: Given, start: Start) -> list[Any]:
        if start.format.labels_itself:
            return [None] * len(given.records)
        labels = given.labels * len(given.records) if len(given.labels) == 1 else given.labels
        if len(labels) != len(given.records):
            raise Refused(
                422, "labels",
                f"There are {len(given.records)} {start.format.what} but {len(given.labels)} labels. Give one for "
                "each, or one for all.",
            )  # fmt: skip
        return [start.label(label) for label in labels]

    def _adding(self, start: Start, given: Given) -> Callable[[], Event]:
        """What makes the event that adds what is given, for the thread that computes. Labels are looked at before."""
        labels, records = self._labels(given, start), given.records
        if len(labels) > self.limits.examples:
            raise Refused(
                413, "too_many_examples",
                f"There are {len(labels)} examples, more than the limit of {self.limits.examples} of one model.",
            )  # fmt: skip
        if start.as_sent:
            return lambda: adding(labels, records, None)
        return lambda: adding(labels, None, learn.stored(start, records))

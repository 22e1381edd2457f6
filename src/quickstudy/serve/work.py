"""One thread that computes, what waits for it, and questions of one model that are answered together."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from quickstudy.serve.refusal import busy

T = TypeVar("T")
_TOGETHER = 64  # records in one forward pass
_ROOM = 4  # times as many jobs wait at most as requests are taken: a change has several


@dataclass(eq=False)
class Job:
    """call: what is to be done. result, error: what came of it. key: of questions that may be answered together by
    `call`, which takes all of their records and gives as many answers; None for what is done alone."""

    call: Callable[..., Any]
    done: asyncio.Future[Any]
    key: Any = None
    records: Sequence[Any] = ()
    result: Any = None
    error: BaseException | None = field(default=None, repr=False)


class Work:
    """The thread, which starts when it is first used. queue: how many requests are taken at once."""

    def __init__(self, queue: int) -> None:
        self._most = queue * _ROOM
        self._jobs: deque[Job] = deque()
        self._ready = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.sizes: Callable[[int], None] = lambda _: None
        """Told how many records were answered together."""

    async def do(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises, in the thread."""
        result: T = await self._put(Job(call, asyncio.get_running_loop().create_future()))
        return result

    async def ask(self, key: Any, call: Callable[[list[Any]], list[Any]], records: Sequence[Any]) -> list[Any]:
        """What `call` says of these records, with those of others who ask by the same key at this moment."""
        found: list[Any] = await self._put(Job(call, asyncio.get_running_loop().create_future(), key, records))
        return found

    async def _put(self, job: Job) -> Any:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, daemon=True, name="quickstudy-work")
            self._thread.start()
        if len(self._jobs) >= self._most:
            raise busy("too much waits to be computed")
        with self._ready:
            self._jobs.append(job)
            self._ready.notify()
        return await job.done

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._jobs:
                    self._ready.wait()
                jobs = self._taken()
            jobs = [job for job in jobs if not job.done.cancelled()]
            if jobs:
                self._done(jobs)
                assert self._loop is not None
                self._loop.call_soon_threadsafe(_tell, jobs)
            del jobs  # what they hold need not wait for the next

    def _taken(self) -> list[Job]:
        """The next job, and those that can be done with it."""
        first = self._jobs.popleft()
        taken, count = [first], len(first.records)
        if first.key is not None:
            for job in list(self._jobs):
                if job.key == first.key and count + len(job.records) <= _TOGETHER:
                    self._jobs.remove(job)
                    taken.append(job)
                    count += len(job.records)
        return taken

    def _done(self, jobs: list[Job]) -> None:
        first = jobs[0]
        try:
            if first.key is None:
                first.result = first.call()
                return
            said = first.call([record for job in jobs for record in job.records])
            self.sizes(len(said))
            at = 0
            for job in jobs:
                job.result = said[at : at + len(job.records)]
                at += len(job.records)
        except Exception as error:  # which is raised where it was asked for
            if len(jobs) == 1:
                first.error = error
                return
            for job in jobs:  # one of them may be why
                self._done([job])


def _tell(jobs: list[Job]) -> None:
    for job in jobs:
        if job.done.cancelled():
            continue
        if job.error is not None:
            job.done.set_exception(job.error)
        else:
            job.done.set_result(job.result)

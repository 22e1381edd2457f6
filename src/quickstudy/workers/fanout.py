"""The same function for many independent jobs, on workers that are kept from one use to the next."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

from quickstudy.errors import ConfigError, ProcessLost, unknown_name
from quickstudy.workers.calls import Answer
from quickstudy.workers.cluster import connected
from quickstudy.workers.places import Here, Process, Ray, Worker
from quickstudy.workers.threads import single_threads

Where = Literal["loop", "threads", "processes", "ray"]
"""'loop': one after another, on the thread that asks. 'threads': of this process. 'processes': of this machine. 'ray':
on the cluster that Ray knows, or one that it begins here."""
_WORKERS: dict[Where, Callable[[], Worker]] = {"loop": Here, "threads": Here, "processes": Process, "ray": Ray}
R = TypeVar("R")
_log = logging.getLogger(__name__)


class Outcome(NamedTuple, Generic[R]):
    """What came of a job. result: None where it failed. error: what went wrong, '' if nothing did."""

    name: str
    result: R | None
    error: str


@dataclass(eq=False)
class _Job:
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tries: int = 0
    worker: Worker | None = None
    abandoned: bool = False


class Workers:
    """Workers that compute jobs, each on one thread of PyTorch's, and wait for more until they are closed.

    where: they compute. count: jobs at once; as many as processors if not given, 1 in a 'loop'. They are started when
    they are first needed, but for the connection to Ray. One that dies is replaced.

    >>> with Workers("threads", 2) as workers:
    ...     sorted(done.result for done in workers.outcomes(pow, [("a", (2, 3)), ("b", (2, 4))]))
    [8, 16]

    Leaving the `with`, by Ctrl-C too, ends what is being computed, except on threads: those cannot be ended from
    outside, and are waited for. Raises MissingExtra without the packages of the extra 'cluster', and ConfigError where
    processes or Ray cannot be had.
    """

    def __init__(self, where: Where = "processes", count: int | None = None) -> None:
        if where not in _WORKERS:
            raise unknown_name("place of workers", where, get_args(Where))
        if count is not None and count < 1:
            raise ConfigError(f"There must be at least 1 worker, found {count}. Raise it, or leave it out.")
        self.where = where
        self.count = 1 if where == "loop" else count or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._running: dict[Future[Answer], _Job] = {}
        self._closed = False
        with ExitStack() as stack:
            if where == "ray":
                stack.enter_context(connected(self.count))
            self._executor = self._made()
            self._held = stack.pop_all()

    @property
    def apart(self) -> bool:
        """Whether jobs are sent to other processes, and their results back."""
        return self.where in ("processes", "ray")

    def outcomes(
        self, function: Callable[..., R], jobs: Iterable[tuple[str, tuple[Any, ...]]], *, retries: int = 1
    ) -> Iterator[Outcome[R]]:
        """What came of `function(*arguments)` for each job (name, arguments), one by one, as they come.

        A job is drawn when a worker is free for it, so that `jobs` may be a generator that looks at the outcomes before
        it. A job that fails, or whose worker dies, is tried again up to `retries` times, once all others are done and
        then alone, since it may have been memory that ran out; warnings say so. Leaving the iterator early ends what
        is being computed. Raises ConfigError where a job cannot be sent to another process.
        """
        if retries < 0:
            raise ConfigError(f"Jobs are tried again 0 or more times, found retries={retries}. Raise it.")
        fresh = (_Job(name, function, arguments) for name, arguments in jobs)
        failed: deque[_Job] = deque()
        mine: set[Future[Answer]] = set()
        try:
            while True:
                self._require_open()
                while len(mine) < self.count and (job := next(fresh, None)) is not None:
                    mine.add(self._begin(job))
                if not mine and failed:
                    mine.add(self._begin(failed.popleft()))
                if not mine:
                    return
                done = next(iter(wait(mine, return_when=FIRST_COMPLETED).done))
                mine.remove(done)
                job = self._running.pop(done)
                answer = done.result()
                if answer.error and job.tries <= retries:
                    _log.warning("%s failed (%s) and is tried again when the others are done.", job.name, answer.error)
                    failed.append(job)
                    continue
                if answer.error:
                    times = f" {job.tries} times" if job.tries > 1 else ""
                    _log.warning("%s failed%s (%s): the others go on without it.", job.name, times, answer.error)
                yield Outcome(job.name, answer.result, answer.error)
        finally:
            self._abandon(mine)

    def close(self) -> None:
        """End the workers, and what they compute. Workers that are closed cannot be used again."""
        self._closed = True
        try:
            self._abandon(list(self._running))
        finally:
            self._executor.shutdown()
            while self._idle:
                self._idle.pop().close()
            self._held.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _made(self) -> Executor:
        """What asks the workers."""
        if self.where == "loop":
            return _AtOnce()
        return single_threads(self.count) if self.where == "threads" else ThreadPoolExecutor(self.count, "quickstudy")

    def _require_open(self) -> None:
        if self._closed:
            raise ConfigError("These workers are closed. Ask within their `with`, or make new ones.")

    def _begin(self, job: _Job) -> Future[Answer]:
        job.tries += 1
        future = self._executor.submit(self._compute, job)
        self._running[future] = job
        return future

    def _compute(self, job: _Job) -> Answer:
        with self._lock:
            if job.abandoned:
                return Answer(None, "it was abandoned")
            job.worker = worker = self._one()
        lost = False
        try:
            return worker.compute(job.function, job.arguments)
        except ProcessLost as error:
            lost = True
            return Answer(None, f"{error} Its worker is lost, and a new one takes its place.")
        finally:
            with self._lock:
                job.worker = None
                lost = lost or job.abandoned
                if not lost:
                    self._idle.append(worker)
            if lost:
                worker.close()

    def _one(self) -> Worker:
        """A worker that has nothing to do, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.alive():
                return worker
            worker.close()
            _log.warning("A worker died while it waited, and a new one takes its place.")
        return _WORKERS[self.where]()

    def _abandon(self, futures: Iterable[Future[Answer]]) -> None:
        """End the jobs that still run, and wait until they have ended."""
        running = [future for future in futures if future in self._running]
        for future in running:
            job = self._running.pop(future)
            with self._lock:
                job.abandoned = True
                if job.worker is not None:
                    job.worker.stop()
        wait(running)


class _AtOnce(Executor):
    """Calls what it is given on the thread that gives it; interruptions come through."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future

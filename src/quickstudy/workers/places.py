"""Where a worker computes: in this process, in one of its own, or wherever Ray has room."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from quickstudy.errors import ProcessLost
from quickstudy.workers.calls import Answer, answered, computed, packed, unpacked
from quickstudy.workers.child import Child, end_of

_PROGRAM = "import sys; from quickstudy.workers.places import work; work(int(sys.argv[1]))"
_LOST = "Take fewer workers, or, if it is the call that crashes, 'loop' shows where."


class Worker(Protocol):
    """Computes one call at a time. `alive`: as far as is known without a call.

    `compute` raises ProcessLost where the worker is gone; another is then started in its place. `stop` may be called
    from another thread: it ends what is being computed, where that can be done, and the worker with it. `close` ends a
    worker that computes nothing.
    """

    def alive(self) -> bool: ...

    def compute(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Answer: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Here:
    """In this process, on whatever thread asks."""

    def alive(self) -> bool:
        return True

    def compute(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Answer:
        return answered(function, arguments)

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Process:
    """In a process of this worker's own. It ends when this process does, also in the middle of a call."""

    def __init__(self) -> None:
        self._child = Child(_PROGRAM, "a worker", _LOST)

    def alive(self) -> bool:
        return self._child.alive()

    def compute(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Answer:
        self._child.send(packed(function, arguments))
        return unpacked(self._child.receive())

    def stop(self) -> None:
        self._child.kill()

    def close(self) -> None:
        self._child.close()


def work(descriptor: int) -> None:
    """What the process of a worker does until the other end of its pipe is closed."""
    pipe = end_of(descriptor)
    calls: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                calls.put(pipe.recv())
        if busy.is_set():
            os._exit(1)  # nobody waits for what is being computed
        calls.put(None)

    threading.Thread(target=listen, daemon=True).start()
    while (call := calls.get()) is not None:
        busy.set()
        answer = computed(call)
        sys.stdout.flush()
        try:
            pipe.send(answer)
        except OSError:
            return
        busy.clear()


class Ray:
    """In a process of Ray's, which Ray chooses and keeps for the next call; see `cluster.connected`."""

    def __init__(self) -> None:
        import ray
        from ray.exceptions import RayError

        # Tasks and not actors: one that waits for a free processor holds none, and Ray replaces processes by itself.
        self._ray, self._died = ray, RayError
        self._remote = ray.remote(num_cpus=1, max_retries=0)(_found_and_computed)
        self._running: Any = None
        self._stopped = False

    def alive(self) -> bool:
        return True

    def compute(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Answer:
        call = packed(function, arguments)
        try:
            self._running = running = self._remote.remote(sys.path, call)
            if self._stopped:
                self.stop()
            return unpacked(self._ray.get(running))
        except self._died as error:
            lines = str(error).strip().splitlines() or [""]
            why = f"{type(error).__name__}: {lines[0][:200]}"
            raise ProcessLost(f"Ray's process for it is gone ({why}). {_LOST}") from error
        finally:
            self._running = None

    def stop(self) -> None:
        self._stopped, running = True, self._running
        if running is not None:
            self._ray.cancel(running, force=True)

    def close(self) -> None: ...


def _found_and_computed(path: list[str], call: bytes) -> bytes:
    """path: where the caller finds its modules; on other machines these places may not be, and then do not matter."""
    sys.path += [place for place in path if place not in sys.path]
    return computed(call)

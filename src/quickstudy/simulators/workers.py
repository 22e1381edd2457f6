"""Groups of simulators: in this process, or in processes of their own that are spoken to through pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple, Protocol

import numpy as np

from quickstudy.errors import ConfigError, DataError, ProcessLost, QuickstudyError
from quickstudy.simulators.families import gymnasium, require_for
from quickstudy.simulators.making import Maker
from quickstudy.simulators.simulator import Simulator
from quickstudy.simulators.spaces import Floats

_PATIENCE = 5.0  # seconds for a worker that was told to end
_PROGRAM = "import sys; from quickstudy.simulators.workers import work; work(int(sys.argv[1]))"


class Begin(NamedTuple):
    """Episodes begin in simulators of a group: of which tasks, and from which seeds."""

    which: Sequence[int]
    numbers: Sequence[Sequence[float]]
    seeds: Sequence[int]


class Act(NamedTuple):
    """Simulators of a group take a step."""

    which: Sequence[int]
    actions: Any


class Look(NamedTuple):
    """Simulators of a group are drawn."""

    which: Sequence[int]


Request = Begin | Act | Look


class Found(NamedTuple):
    """seen: (k, …), of those that are drawn pictures. reward, ended: (k,), where there was a step."""

    seen: Floats
    reward: Any
    ended: Any


class Group(Protocol):
    """Simulators, numbered from 0, that are made when they are first asked for. `ask` does not wait, `answer` does."""

    def ask(self, request: Request) -> None: ...

    def answer(self) -> Found: ...

    def close(self) -> None: ...


class Here:
    """A group in this process."""

    def __init__(self, maker: Maker, horizon: int) -> None:
        self._maker, self._horizon = maker, horizon
        self._simulators: dict[int, Simulator] = {}
        self._request: Request

    def ask(self, request: Request) -> None:
        self._request = request

    def answer(self) -> Found:
        request = self._request
        if isinstance(request, Begin):
            shown = [
                self._simulator(i).begin(numbers, seed)
                for i, numbers, seed in zip(request.which, request.numbers, request.seeds, strict=True)
            ]
            return Found(np.stack(shown), None, None)
        if isinstance(request, Look):
            return Found(np.stack([self._simulators[i].picture() for i in request.which]), None, None)
        after = [self._simulators[i].step(a) for i, a in zip(request.which, request.actions, strict=True)]
        seen, rewards, ended = zip(*after, strict=True)
        return Found(np.stack(seen), np.array(rewards, np.float32), np.array(ended, bool))

    def _simulator(self, which: int) -> Simulator:
        return self._simulators.setdefault(which, Simulator(self._maker, self._horizon))

    def close(self) -> None:
        for simulator in self._simulators.values():
            simulator.close()
        self._simulators.clear()


class Elsewhere:
    """A group in a process of its own. It is a new Python, not a copy of this process: copies of one that has threads,
    as PyTorch does, may wait for each other without end. It ends when this one does."""

    def __init__(self, maker: Maker, horizon: int) -> None:
        import cloudpickle

        if os.name != "posix":
            raise ConfigError("Simulators run in processes of their own on Linux and macOS alone. Give workers=0.")
        self._maker = maker
        self._pipe, theirs = Pipe()
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            )
        spec = None if maker.file else maker.spec()
        self._send(cloudpickle.dumps((maker, horizon, spec)))  # functions of __main__ by value, which pickle cannot

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: Request) -> None:
        self._send(request)

    def _send(self, what: Any) -> None:
        try:
            self._pipe.send(what)
        except OSError as error:
            raise self._lost() from error

    def answer(self) -> Found:
        try:
            found = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(found, str):
            raise DataError(found)
        return found  # type: ignore[no-any-return]

    def _lost(self) -> ProcessLost:
        try:
            code: Any = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            code = "none yet"
        why = f"signal {-code}, {signal.Signals(-code).name}" if isinstance(code, int) and code < 0 else f"exit {code}"
        return ProcessLost(
            f"A process with simulators of {self._maker.id} is gone ({why}). SIGKILL mostly means that memory ran out: "
            "give fewer workers or tasks. If the simulator itself crashes, workers=0 shows where."
        )

    def close(self) -> None:
        self._pipe.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def work(descriptor: int) -> None:
    """What a worker does until the other end of its pipe is closed. An error is sent back in words."""
    import cloudpickle

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it goes to the process that waits for us, and that ends us
    pipe = Connection(descriptor)
    try:
        maker, horizon, spec = cloudpickle.loads(pipe.recv())
        if spec is not None and spec.id not in gymnasium().registry:
            require_for(spec)
            gymnasium().registry.setdefault(spec.id, spec)
        group = Here(maker, horizon)
        while True:
            request = pipe.recv()
            try:
                group.ask(request)
                found: Any = group.answer()
            except Exception as error:
                found = _told(maker, error)
            pipe.send(found)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _told(maker: Maker, error: Exception) -> str:
    """An error in words, with the line where it was raised if it is none of ours."""
    if isinstance(error, QuickstudyError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{maker.id} failed in a process of its own: {type(error).__name__}: {str(error)[:300]} ({place.filename}, "
        f"line {place.lineno}). workers=0 runs it in this process."
    )

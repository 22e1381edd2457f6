"""A Python process that is spoken to through a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from typing import Any

from quickstudy.errors import ConfigError, ProcessLost

_PATIENCE = 5.0  # seconds for a process that was told to end
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Child:
    """A new Python, not a copy of this process: copies of one that has threads, as PyTorch does, may wait for each
    other without end. It computes on one thread and finds the modules of this process.

    Program: what it runs, with the descriptor of its end of the pipe (`end_of`) as the last argument. It must end when
    the pipe is closed. what: it is for, and remedy: what to do if it dies, for messages.
    """

    def __init__(self, program: str, what: str, remedy: str) -> None:
        if os.name != "posix":
            raise ConfigError(f"Processes with {what} run on Linux and macOS alone. {remedy}")
        self._what, self._remedy = what, remedy
        self._pipe, theirs = Pipe()
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=os.environ | {"PYTHONPATH": path} | _THREADS,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, what: Any) -> None:
        """Raises ProcessLost, as `receive` does, if the process is gone."""
        try:
            self._pipe.send(what)
        except OSError as error:
            raise self._lost() from error

    def receive(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error

    def _lost(self) -> ProcessLost:
        try:
            code: Any = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            code = "none yet"
        why = f"signal {-code}, {signal.Signals(-code).name}" if isinstance(code, int) and code < 0 else f"exit {code}"
        return ProcessLost(
            f"A process with {self._what} is gone ({why}). SIGKILL mostly means that memory ran out. {self._remedy}"
        )

    def kill(self) -> None:
        """End the process at once, whatever it does; whoever waits for its answer is told that it is lost."""
        self._process.kill()

    def close(self) -> None:
        self._pipe.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def end_of(descriptor: int) -> Connection[Any, Any]:
    """The child's end of the pipe. Ctrl-C goes to the process that waits for it, and that ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return Connection(descriptor)

"""A contestant in a process of its own, as it is seen from outside: one computes, the others wait for a command."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from safetensors.torch import load_file

from benchmarks.contestants import Gradient
from benchmarks.worker import Entrant
from quickstudy.engine import Plan
from quickstudy.engine.compile import CompileError

LIMIT = 900.0
_ROOT = Path(__file__).parents[1]
_ALLOCATOR = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


class WorkerError(Exception):
    """The process of a contestant ended, or gave no answer in time."""


class Remote:
    """The process of an entrant; see `running`. Its methods raise WorkerError, and CompileError as the contestant did.

    name, family: as in the tables. kept: whether the process keeps the memory that it frees.
    """

    def __init__(self, entrant: Entrant, process: subprocess.Popen[bytes], errors: IO[str], limit: float) -> None:
        self.entrant, self.name, self.pid = entrant, str(entrant), process.pid
        self._process, self._errors, self._limit = process, errors, limit
        hello = self._answer("start")
        self.family, self.kept = str(hello["family"]), bool(hello["kept"])

    def gradient(self) -> Gradient:
        """The meta-gradient."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "gradient.safetensors"
            self._ask(f"gradient {file}")
            return load_file(file)

    def turn(self, calls: int) -> float:
        """Seconds that as many meta-steps took, by the clock of the process that made them."""
        return float(self._ask(f"turn {calls}")["seconds"])

    def choose(self) -> Plan:
        """The plan that the tuner decides on in a fresh process."""
        return Plan.from_json(self._ask("choose")["plan"])

    def end(self) -> None:
        """End the process before its time."""
        _kill(self._process)

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead then, and reading says how it died
            self._process.stdin.write(f"{command}\n".encode())
        return self._answer(command)

    def _answer(self, command: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        pipe, line, stop = self._process.stdout.fileno(), b"", time.monotonic() + self._limit
        while not line.endswith(b"\n"):
            if not select.select([pipe], [], [], max(0.0, stop - time.monotonic()))[0]:
                raise WorkerError(
                    f"The process of {self.name} gave no answer to '{command}' within {self._limit:g} s. "
                    "Leave the machine to the benchmark, or raise benchmarks.remote.LIMIT."
                )
            part = os.read(pipe, 65536)
            if not part:
                raise WorkerError(self._end_of(command))
            line += part
        answer: dict[str, Any] = json.loads(line)
        if "not compiled" in answer:
            raise CompileError(answer["not compiled"])
        return answer

    def _end_of(self, command: str) -> str:
        code = self._process.wait(self._limit)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        self._errors.seek(0)
        last = next(iter(self._errors.read().strip().splitlines()[-1:]), "nothing")
        return (
            f"The process of {self.name} {how} at '{command}'. The last line of its errors: {last}. "
            "Mend that, or take the contestant out of benchmarks.metastep.entrants."
        )


@contextmanager
def running(entrant: Entrant, limit: float = LIMIT) -> Iterator[Remote]:
    """An entrant's process, ready for commands; whatever happens inside the `with`, it is gone afterwards.

    limit: seconds for each answer. Settings of the allocator in the environment are not handed on, so that nobody has
    them unasked. Raises WorkerError.
    """
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(entrant.to_json())],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={name: value for name, value in os.environ.items() if name not in _ALLOCATOR},
            cwd=_ROOT,
            start_new_session=True,  # Ctrl-C is for this process, which ends the others
        ) as process,
    ):
        try:
            yield Remote(entrant, process, errors, limit)
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and those it started; they hold nothing that is worth a goodbye."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

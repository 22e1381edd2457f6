"""Groups of simulators: in this process, or in processes of their own that are spoken to through pipes."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from quickstudy.errors import DataError, QuickstudyError
from quickstudy.simulators.families import gymnasium, require_for
from quickstudy.simulators.making import Maker
from quickstudy.simulators.simulator import Simulator
from quickstudy.simulators.spaces import Floats
from quickstudy.workers.child import Child, end_of

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
    """A group in a process of its own."""

    def __init__(self, maker: Maker, horizon: int) -> None:
        import cloudpickle

        remedy = "Give fewer workers or tasks. If the simulator itself crashes, workers=0 shows where."
        self._child = Child(_PROGRAM, f"simulators of {maker.id}", remedy)
        spec = None if maker.file else maker.spec()
        self._child.send(cloudpickle.dumps((maker, horizon, spec)))  # __main__'s functions by value, as pickle cannot

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask(self, request: Request) -> None:
        self._child.send(request)

    def answer(self) -> Found:
        found = self._child.receive()
        if isinstance(found, str):
            raise DataError(found)
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        self._child.close()


def work(descriptor: int) -> None:
    """What a worker does until the other end of its pipe is closed. An error is sent back in words."""
    import cloudpickle

    pipe = end_of(descriptor)
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
            except Exception as error:  # whatever the code of others raises
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

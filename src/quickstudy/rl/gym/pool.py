"""A pool of simulators, one for each lane, and which state each of them is in."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from quickstudy.errors import DataError
from quickstudy.simulators.making import Maker
from quickstudy.simulators.spaces import Floats
from quickstudy.simulators.workers import Act, Begin, Elsewhere, Found, Group, Here, Look


class Pool:
    """Simulators of one family; lane i is simulator i // W of worker i mod W, made when it is first needed.

    A simulator can only go on from where it is. So each state has a ticket, a number that no other state of this pool
    has, and a state whose ticket is not the latest of its lane is refused. A copy, or a pool in a forked process, has
    simulators of its own.

    workers: processes; 0 for none but this one.
    """

    def __init__(self, maker: Maker, horizon: int, workers: int) -> None:
        self._made_of = maker, horizon, workers
        self._maker, self._count = maker, max(workers, 1)
        self._kind: Any = Elsewhere if workers else Here
        self._horizon = horizon
        self._groups: dict[int, Group] = {}
        self._tickets: dict[int, int] = {}
        self._numbers: dict[int, tuple[float, ...]] = {}
        self._next = itertools.count(1)
        self._lock, self._process = threading.RLock(), os.getpid()
        weakref.finalize(self, _close, self._groups, self._process)

    def __reduce__(self) -> Any:
        return Pool, self._made_of

    @property
    def groups(self) -> Sequence[Group]:
        """Those that were started."""
        return list(self._groups.values())

    def begin(
        self, lanes: Sequence[int], numbers: Sequence[tuple[float, ...]], seeds: Sequence[int]
    ) -> tuple[Floats, list[int]]:
        """What is seen in lanes where episodes begin, (k, …), and the tickets of these states."""
        with self._whole():
            found = self._asked(lanes, lambda rows: Begin(*_chosen(rows, self._places(lanes), numbers, seeds)))
            self._numbers |= dict(zip(lanes, numbers, strict=True))
            return found.seen, self._issue(lanes)

    def step(
        self, lanes: Sequence[int], tickets: Sequence[int], numbers: Sequence[tuple[float, ...]], actions: Any
    ) -> tuple[Found, list[int]]:
        """What follows actions (k,) or (k, D) in lanes, and the tickets of the states after them."""
        with self._whole():
            self.require_current(lanes, tickets, numbers)
            found = self._asked(lanes, lambda rows: Act(*_chosen(rows, self._places(lanes), actions)))
            return found, self._issue(lanes)

    def draw(self, lanes: Sequence[int], tickets: Sequence[int], numbers: Sequence[tuple[float, ...]]) -> Any:
        """What lanes look like, (k, height, width, 3) of 0 to 255; of a pool whose maker is `drawn`."""
        with self._whole():
            self.require_current(lanes, tickets, numbers)
            return self._asked(lanes, lambda rows: Look(*_chosen(rows, self._places(lanes)))).seen

    def require_current(
        self, lanes: Sequence[int], tickets: Sequence[int], numbers: Sequence[tuple[float, ...]]
    ) -> None:
        """DataError where a simulator is no longer in the state that has this ticket, or has another task."""
        here = self._process == os.getpid()
        for lane, ticket, task in zip(lanes, tickets, numbers, strict=True):
            if not here or self._tickets.get(lane) != ticket:
                raise DataError(
                    f"A state of {self._maker.id} is out of date: the simulator of lane {lane} has gone on since, and "
                    "cannot go back. Go on from what the last reset, step or anew returned, and play one trial at a "
                    "time with an environment; a second one can be made for another."
                )
            if self._numbers[lane] != task:
                raise DataError(
                    f"A state of {self._maker.id} is of another task: lane {lane} has {self._numbers[lane]}, found "
                    f"{task}. Give the tasks that it was reset with."
                )
        if len(set(lanes)) < len(lanes):
            raise DataError(
                f"A state of {self._maker.id} has a lane twice, and a simulator goes on in one way alone. Give it once."
            )

    def _places(self, lanes: Sequence[int]) -> list[int]:
        return [lane // self._count for lane in lanes]

    def _issue(self, lanes: Sequence[int]) -> list[int]:
        tickets = [next(self._next) for _ in lanes]
        self._tickets |= dict(zip(lanes, tickets, strict=True))
        return tickets

    def _asked(self, lanes: Sequence[int], request: Any) -> Found:
        """The answers of all groups, in the order of the lanes; they work at the same time."""
        rows: dict[int, list[int]] = {}
        for row, lane in enumerate(lanes):
            rows.setdefault(lane % self._count, []).append(row)
        for group in rows:
            if group not in self._groups:
                self._groups[group] = self._kind(self._maker, self._horizon)
        for group, own in rows.items():
            self._groups[group].ask(request(own))
        found = [self._groups[group].answer() for group in rows]
        back = np.argsort(np.concatenate([np.array(own, int) for own in rows.values()]))
        columns: list[Any] = [
            None if part[0] is None else np.concatenate(part)[back] for part in zip(*found, strict=True)
        ]
        return Found(*columns)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Within it, one request at a time; after an error, all simulators are new and all states out of date, since
        some may have gone on and others not."""
        with self._lock:
            if self._process != os.getpid():  # the parent's simulators are not ours to speak to
                self._groups, self._tickets, self._process = {}, {}, os.getpid()
                weakref.finalize(self, _close, self._groups, self._process)
            try:
                yield
            except BaseException:
                self._tickets.clear()
                _close(self._groups, self._process)
                raise


def _chosen(rows: Sequence[int], *columns: Any) -> list[Any]:
    return [c[rows] if isinstance(c, np.ndarray) else [c[row] for row in rows] for c in columns]


def _close(groups: dict[int, Group], process: int) -> None:
    if process == os.getpid():
        for group in groups.values():
            group.close()
        groups.clear()

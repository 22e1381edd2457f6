"""Asking a training to stop, by Ctrl-C or by a signal."""

from __future__ import annotations

import signal
import threading
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any


class StopRequests(AbstractContextManager["StopRequests"]):
    """Turns Ctrl-C, SIGTERM or SIGHUP into a request honoured between two steps; a second Ctrl-C interrupts.

    SIGHUP, which comes when a terminal is closed, is left alone where it is ignored, as under nohup.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            asking = [signal.SIGINT, signal.SIGTERM]
            asking += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
            self._before = {s: signal.signal(s, self._note) for s in asking}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

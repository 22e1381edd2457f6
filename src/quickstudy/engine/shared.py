"""Settings that PyTorch keeps for the whole process, held by several threads at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any


class Shared:
    """A context that the first thread to enter sets up and the last to leave undoes; may be entered many times.

    Each thread restoring what it found would switch the setting off under the others, or leave it on for good.
    """

    def __init__(self, setting: Callable[[], AbstractContextManager[Any]]) -> None:
        self._setting, self._lock, self._holders = setting, Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._holders:
                self._held = self._setting()
                self._held.__enter__()
            self._holders += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._held.__exit__(None, None, None)
